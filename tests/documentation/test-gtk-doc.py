#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Builds the reference with gtk-doc, and checks its output.
Usage: test-gtk-doc.py NINJA BUILD_DIR BOOKS, the folder of the books that gtk-doc has built for other
libraries"""

import pathlib
import re
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, equal, fail_if, run_checks  # noqa: E402

NINJA, BUILD, BOOKS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
FOLDER = BUILD / "docs"

# Since GLib 2.80, its books are built by gi-docgen, and gtk-doc cannot link to these.
NO_BOOK_OF_GLIB = re.compile(r"warning: no link for: \"(?!buf)", re.IGNORECASE)

build = subprocess.run(
    [NINJA, "-C", str(BUILD), "BufPool-doc"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
)


def check_build():
    if build.returncode != 0:
        raise Failure(build.stdout)


def check_warnings():
    noise = [line for line in build.stdout.splitlines() if re.search(r"warning:|error:|no value found", line, re.I)]
    has_book = (BOOKS / "glib").exists()
    fail_if([line for line in noise if has_book or not NO_BOOK_OF_GLIB.search(line)])


def check_default_target():
    """Meson builds the book again when it is installed, and builds only the default target before that."""
    query = [NINJA, "-C", str(BUILD), "-t", "query", "all"]
    inputs = subprocess.run(query, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    equal([name for name in ("docs/sources", "docs/overview.xml") if name not in inputs], [])


def check_coverage():
    report = (FOLDER / "BufPool-undocumented.txt").read_text(encoding="utf-8")
    if not re.search(r"^100% symbol docs coverage\.", report) or "\n0 symbols incomplete.\n" not in report:
        raise Failure(report)
    if int(re.search(r"^(\d+) symbols documented", report, re.MULTILINE)[1]) < 70:
        raise Failure("Hardly any symbol was found\n" + report)


def check_list(name, remedy):
    lines = (FOLDER / f"BufPool-{name}.txt").read_text(encoding="utf-8").split()
    fail_if([f"{line}: {remedy}" for line in lines])


def check_properties():
    for kind, properties in (("Pool", ("max-memory", "closed", "budget")), ("Budget", ("max-memory", "parent"))):
        book = (FOLDER / "html" / f"Buf{kind}.html").read_text(encoding="utf-8")
        equal([name for name in properties if f'name="Buf{kind}--{name}"' not in book], [])


sys.exit(
    run_checks(
        [
            ("it builds", check_build),
            ("without a warning", check_warnings),
            ("its sources are in the default target", check_default_target),
            ("every symbol is documented", check_coverage),
            ("no symbol is missing", lambda: check_list("unused", "add it to docs/BufPool-sections.txt")),
            ("no symbol is too many", lambda: check_list("undeclared", "take it out of docs/BufPool-sections.txt")),
            ("properties are there", check_properties),
        ]
    )
)
