#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks that other descriptions of the library agree with it: versions, dates, symbols, options of the
tools.
Usage: test-packaging.py SOURCE_DIR VERSION [FOLDER_OF_TOOLS]
       test-packaging.py --renew SOURCE_DIR, after adding a symbol: writes Debian's list of symbols"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from email.utils import parsedate_to_datetime

from tap import Failure, Skipped, equal, fail_if, run_checks

DOAP = "{http://usefulinc.com/ns/doap#}"
SYMBOLS_HEADER = "libbufpool-1.0.so.0 libbufpool-1.0-0 #MINVER#\n* Build-Depends-Package: libbufpool-dev\n"
TOOLS = ("digest", "relay", "monitor")
COMPLETE = """
. /usr/share/bash-completion/bash_completion
. "$1"
COMP_WORDS=("$2" --) COMP_CWORD=1 COMP_LINE="$2 --" COMP_POINT=${#COMP_LINE}
_bufpool_tools "$2"
printf '%s\n' "${COMPREPLY[@]}"
"""


class Source:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.packaging = self.folder / ".packaging"
        self.symbols = self.packaging / "debian" / "libbufpool-1.0-0.symbols"

    def read(self, name):
        return (self.folder / name).read_text(encoding="utf-8")

    def write_symbols(self, since):
        """The lines of a Debian symbols file. A symbol that existed before keeps its version."""
        known = {}
        if self.symbols.exists():
            known = dict(re.findall(r"^ (\w+)@Base (\S+)$", self.symbols.read_text(encoding="utf-8"), re.MULTILINE))
        exported = self.read("tests/exported-symbols.list").split()
        lines = [f" {name}@Base {known.get(name, since)}\n" for name in exported]
        return SYMBOLS_HEADER + "".join(lines)

    def get_releases(self):
        """Version and date of the newest release, by the file that contains them."""
        changelog = self.read(".packaging/debian/changelog")
        heading = re.match(r"libbufpool (\S+) \((\S+)\)\n", self.read("NEWS"))
        release = xml.fromstring(self.read("bufpool.doap")).find(f".//{DOAP}Version")
        date = parsedate_to_datetime(re.search(r"^ -- .*>  (.*)$", changelog, re.MULTILINE)[1])
        return {
            "NEWS": heading.groups() if heading else None,
            "bufpool.doap": (release.findtext(f"{DOAP}revision"), release.findtext(f"{DOAP}created")),
            "debian/changelog": (re.match(r"libbufpool \(([^-]+)-", changelog)[1], date.date().isoformat()),
        }


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def check_releases(source, version):
    releases = source.get_releases()
    fail_if([f"{name}: {release}" for name, release in releases.items() if not release or release[0] != version])
    equal(len(set(releases.values())), 1)


def check_tarballs(source, version):
    tarball = f"libbufpool-{version}.tar.xz"
    module = json.loads(source.read(".packaging/libbufpool.flatpak.json"))
    equal([entry["path"] for entry in module["sources"]], [tarball])
    wrap = dict(re.findall(r"^(\w+) = (.*)$", source.read(".packaging/libbufpool.wrap"), re.MULTILINE))
    equal((wrap["directory"], wrap["source_filename"]), (f"libbufpool-{version}", tarball))


def check_symbols(source, version):
    if source.symbols.read_text(encoding="utf-8") != source.write_symbols(version):
        raise Failure("Debian's list of symbols is out of date: run tests/test-packaging.py --renew .")


def check_options_of_flatpak(source):
    """A module with an option that does not exist cannot be built."""
    module = json.loads(source.read(".packaging/libbufpool.flatpak.json"))
    options = re.findall(r"^option\('(\w+)'", source.read("meson_options.txt"), re.MULTILINE)
    fail_if([text for text in module["config-opts"] if re.match(r"-D(\w+)=", text)[1] not in options])


def check_desktop_entry(source):
    if shutil.which("desktop-file-validate") is None:
        raise Skipped("there is no desktop-file-validate")
    equal(run("desktop-file-validate", source.folder / "examples/tools/bufpool-monitor.desktop"), "")


def get_help(source, tools, name):
    monitor = (sys.executable, source.folder / "examples/monitor_options.py")
    return run(*(monitor if name == "monitor" else [tools / f"bufpool-{name}"]), "--help")


def get_options(text):
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    if len(options) < 3:
        raise Failure(f"There are hardly any options in\n{text}")
    return options


def check_manual_pages(source, tools):
    for name in TOOLS:
        page = (tools / f"bufpool-{name}.1").read_text(encoding="utf-8").replace("\\-", "-")
        description = re.search(r"^\.SH DESCRIPTION$(.*?)^\.SH ", page, re.MULTILINE | re.DOTALL)[1]
        described = get_options(re.sub(r"\\f[BIR]", "", description))
        equal(sorted(described), sorted(get_options(get_help(source, tools, name))))


def check_completion(source, tools):
    if not pathlib.Path("/usr/share/bash-completion/bash_completion").exists():
        raise Skipped("there is no bash-completion")
    for name in ("digest", "relay"):
        script = source.folder / "examples/tools/bufpool-tools.bash"
        offered = run("bash", "-c", COMPLETE, "bash", script, tools / f"bufpool-{name}").split()
        equal(sorted(option.rstrip("=") for option in offered), sorted(get_options(get_help(source, tools, name))))


def check_versions(tools, version):
    for name in ("digest", "relay"):
        printed = run(tools / f"bufpool-{name}", "--version")
        if not printed.endswith(f"(libbufpool) {version}\n"):
            raise Failure(printed)


def main():
    if sys.argv[1] == "--renew":
        source = Source(sys.argv[2])
        source.symbols.write_text(source.write_symbols(source.get_releases()["NEWS"][0]), encoding="utf-8")
        return 0

    source, version = Source(sys.argv[1]), sys.argv[2]
    checks = [
        ("one release, of one date", lambda: check_releases(source, version)),
        ("tarballs of this version", lambda: check_tarballs(source, version)),
        ("Debian's symbols are those that are exported", lambda: check_symbols(source, version)),
        ("options of the Flatpak module", lambda: check_options_of_flatpak(source)),
        ("the desktop entry", lambda: check_desktop_entry(source)),
    ]
    if len(sys.argv) > 3:
        tools = pathlib.Path(sys.argv[3])
        checks += [
            ("manual pages have all options", lambda: check_manual_pages(source, tools)),
            ("bash completes all options", lambda: check_completion(source, tools)),
            ("tools tell their version", lambda: check_versions(tools, version)),
        ]
    return run_checks(checks)


if __name__ == "__main__":
    sys.exit(main())
