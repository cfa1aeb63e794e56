#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Call stacks without debug information, with and without a symbol table: the frames of the library are left
out, so allocations from one place form one group, and no address gets the name of another function.
Usage: test-stripped.py STRIP PROGRAM LIBRARY TEST_DEBUG"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, equal, run_checks  # noqa: E402

STRIP, PROGRAM, LIBRARY, TEST_DEBUG = sys.argv[1:]
# Not from a server, either.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "DEBUGINFOD_URLS"}


def describe(*options):
    """What copies of the program and the library say, after they were stripped with these options, as pairs of
    the number of allocations and the innermost frame. The copies find each other as the originals do."""
    with tempfile.TemporaryDirectory() as folder:
        copies = []
        for path, target in (PROGRAM, "tests/program"), (LIBRARY, "bufpool/libbufpool-1.0.so.0"):
            copies.append(pathlib.Path(folder, target))
            copies[-1].parent.mkdir()
            shutil.copy(path, copies[-1])
        if options:
            subprocess.run([STRIP, *options, *copies], check=True)
        environment = {**ENVIRONMENT, "BUFPOOL_DEBUG": "leaks", "LD_LIBRARY_PATH": str(copies[1].parent)}
        text = subprocess.run(
            [copies[0]], env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=60
        ).stdout
    print("# " + text.replace("\n", "\n# "))
    if "??" in text or ":?" in text:
        raise Failure(text)
    return re.findall(r"^  (\d+) allocations? .*\n    (.*)$", text, re.MULTILINE)


def check_debug_information():
    groups = describe()
    equal([(number, re.sub(r" \(stripped.c:\d+\)$", "", frame)) for number, frame in groups],
          [("6", "visible_place"), ("1", "hidden_place")])  # fmt: skip


def check_symbol_table():
    """As if it had been built without debug information."""
    visible, hidden = describe("--strip-debug", "--keep-file-symbols")
    equal(visible, ("6", "visible_place"))
    equal(hidden, ("1", "hidden_place (stripped.c)"))


def check_symbol_table_without_files():
    equal(describe("--strip-debug"), [("6", "visible_place"), ("1", "hidden_place")])


def check_exported_names():
    visible, (number, hidden) = describe("--strip-all")
    equal(visible, ("6", "visible_place (in program)"))
    equal((number, re.sub("^0x[0-9a-f]+ ", "", hidden)), ("1", "(in program)"))


def check_static_library():
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, "test-debug")
        shutil.copy(TEST_DEBUG, copy)
        subprocess.run([STRIP, "--strip-debug", "--keep-file-symbols", copy], check=True)
        done = subprocess.run([copy], env=ENVIRONMENT, check=False, capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        raise Failure(done.stdout + done.stderr)


CHECKS = [
    ("with debug information", check_debug_information),
    ("with a symbol table", check_symbol_table),
    ("with a symbol table without files", check_symbol_table_without_files),
    ("with exported names only", check_exported_names),
    ("with a symbol table, in a program that contains the library", check_static_library),
]
sys.exit(run_checks(CHECKS))
