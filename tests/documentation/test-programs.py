#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Compiles and runs every program in the documentation, in its language.
Usage: test-programs.py SOURCE_DIR BUILD_DIR PYTHON [ONLY]

A code block is a program if it has what makes one in its language, see PROGRAM. Its output must match the
block "output" after it, if there is one. drive-window.py uses a program that has a window. With ONLY, a part of a
file name, checks only those files."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, Skipped, equal, run_checks  # noqa: E402

SOURCE, BUILD = map(pathlib.Path, sys.argv[1:3])
PYTHON = sys.argv[3]
ONLY = sys.argv[4] if len(sys.argv) > 4 else ""

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"/\*\*\n.*?\*/", re.DOTALL)
PROGRAM = {
    "c": re.compile(r"^main \(", re.MULTILINE),
    "cpp": re.compile(r"^main \(", re.MULTILINE),
    "vala": re.compile(r"^(int|void) main \(", re.MULTILINE),
    "python": re.compile(r"^(import|from) ", re.MULTILINE),
    "javascript": re.compile(r"^import |= imports\.", re.MULTILINE),
    "lua": re.compile(r"require"),
    "ruby": re.compile(r"^require", re.MULTILINE),
}
WINDOW = 'gi.require_version("Gtk", "4.0")'
DRIVER = pathlib.Path(__file__).with_name("drive-window.py")
INTERPRETERS = {"python": PYTHON, "javascript": "gjs", "lua": "lua5.3", "ruby": "ruby"}
# What an interpreter needs to run any program with BufPool.
BINDINGS = {
    "python": ["-c", "import gi"],
    "javascript": ["-c", "imports.gi"],
    "lua": ["-e", "require 'lgi'"],
    "ruby": ["-e", "require 'gobject-introspection'"],
}
SUFFIXES = {"c": "c", "cpp": "cpp", "vala": "vala", "python": "py", "javascript": "js", "lua": "lua", "ruby": "rb"}
SECONDS = 120


def get_environment():
    """The variables that `meson devenv` would set."""
    script = 'eval "$(meson devenv -C "$1" --dump)" && env -0'
    output = subprocess.run(["bash", "-c", script, "bash", BUILD], stdout=subprocess.PIPE, check=True).stdout
    environment = dict(entry.split("=", 1) for entry in output.decode().split("\0") if entry)
    environment.pop("MALLOC_PERTURB_", None)  # ruby-glib2 4.2 crashes with it
    return environment | {"G_DEBUG": "fatal-criticals,fatal-warnings", "LC_ALL": "C.UTF-8"}


def get_texts():
    """The pages and the comments, as Markdown, by name."""
    for path in [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md"))]:
        yield path.name, path.read_text(encoding="utf-8")
    for path in sorted((SOURCE / "bufpool").rglob("*.[ch]")):
        comments = COMMENT.findall(path.read_text(encoding="utf-8"))
        yield path.name, "\n".join(re.sub(r"^ *\* ?", "", comment, flags=re.MULTILINE) for comment in comments)


def has_bindings(language):
    command = [INTERPRETERS[language], *BINDINGS[language]]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def get_programs(text):
    """Yields line, language, program, and expected output."""
    blocks = list(BLOCK.finditer(text))
    for block, following in zip(blocks, blocks[1:] + [None]):
        language, code = block.groups()
        if language == "output" or language not in PROGRAM or not PROGRAM[language].search(code):
            continue
        expected = following[2] if following and following[1] == "output" else None
        yield text.count("\n", 0, block.start()) + 1, language, code, expected


def run(command, folder, environment):
    try:
        result = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as timeout:
        raise Failure(f"{command[0]}: did not end within {SECONDS} s") from timeout
    if result.returncode != 0:
        raise Failure(f"{command[0]}: {result.returncode}\n{(result.stdout + result.stderr).decode()}")
    return result.stdout.decode()


def compile_program(language, source, environment):
    program = source.with_suffix("")
    if language in ("c", "cpp"):
        flags = run(["pkg-config", "--cflags", "--libs", "bufpool-1.0"], None, environment)
        compiler = "cc" if language == "c" else "c++"
        command = f"{compiler} -Wall -Wextra -Wno-unused-parameter -Werror -o {program} {source} {flags.strip()}"
        run(["sh", "-c", command], source.parent, environment)
    else:
        vapis = ["--vapidir", BUILD / "bufpool", "--pkg", "bufpool-1.0", "--pkg", "gio-2.0"]
        run(["valac", "-X", "-w", *vapis, "-o", program, source], source.parent, environment)
    return [program]


def has_windows():
    command = [PYTHON, "-c", f"import gi; {WINDOW}"]
    return shutil.which("Xvfb") and subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def check_program(language, code, expected, environment):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / f"program.{SUFFIXES[language]}"
        source.write_text(code, encoding="utf-8")
        if language in INTERPRETERS:
            module = ["-m"] if language == "javascript" and re.search(r"^import ", code, re.MULTILINE) else []
            arguments = [DRIVER, source, folder] if WINDOW in code else [*module, source]
            command = [INTERPRETERS[language], *arguments]
        else:
            command = compile_program(language, source, environment)
        printed = run(command, folder, environment)
    if expected is not None and printed.strip() != expected.strip():
        raise Failure(f"it printed\n{printed}instead of\n{expected}")


# About the library, but not about its use.
WITHOUT_PROGRAM = ("architecture.md", "performance.md", "reliability.md")


def main():
    environment = get_environment()
    texts = {name: text for name, text in get_texts() if ONLY in name}
    programs = [(name, *program) for name, text in texts.items() for program in get_programs(text)]

    def check_chapters():
        chapters = {name for name in texts if name.endswith(".md") and name not in WITHOUT_PROGRAM}
        equal(chapters - {program[0] for program in programs}, set())

    def check_outputs():
        outputs = sum(text.count("\n```output\n") for text in texts.values())
        equal(sum(expected is not None for *_, expected in programs), outputs)

    def check_of(language, code, expected):
        tool = {"c": "cc", "cpp": "c++", "vala": "valac", **INTERPRETERS}[language]

        def check():
            if shutil.which(tool) is None:
                raise Skipped(f"there is no {tool}")
            if language in INTERPRETERS and not has_bindings(language):
                raise Skipped(f"{tool} has no bindings by introspection")
            if language == "vala" and not (BUILD / "bufpool" / "bufpool-1.0.vapi").exists():
                raise Skipped("there is no Vala binding")
            if WINDOW in code and not has_windows():
                raise Skipped("there is no Xvfb, or no GTK 4")
            check_program(language, code, expected, environment)

        return check

    checks = [
        ("each chapter has a program", check_chapters),
        ("each output is that of a program", check_outputs),
    ]
    for name, line, language, code, expected in programs:
        checks.append((f"{name}:{line}, {language}", check_of(language, code, expected)))
    return run_checks(checks)


sys.exit(main())
