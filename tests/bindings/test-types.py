#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks that mypy understands a program with the stubs: it refuses the wrong lines, and no others.
Usage: test-types.py MYPY BufPool.pyi typed.py"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

MYPY, STUBS, PROGRAM = sys.argv[1], sys.argv[2], os.path.realpath(sys.argv[3])


def refused_lines():
    """By number. The rest of GLib has no stubs there."""
    with tempfile.TemporaryDirectory() as folder:
        package = os.path.join(folder, "gi", "repository")
        os.makedirs(package)
        shutil.copy(STUBS, package)
        for path in (os.path.dirname(package), package):
            with open(os.path.join(path, "__init__.pyi"), "w", encoding="utf-8") as file:
                file.write("from typing import Any\ndef __getattr__(name: str) -> Any: ...\n")
        options = ["--cache-dir", os.path.join(folder, "cache"), "--no-error-summary", "--show-absolute-path", "--check-untyped-defs"]
        environment = dict(os.environ, MYPYPATH=folder)
        environment.pop("PYTHONPATH", None)
        result = subprocess.run(
            [MYPY, *options, PROGRAM], env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
    print("# " + result.stdout.replace("\n", "\n# "))
    assert result.returncode in (0, 1), result.returncode
    elsewhere = [
        line for line in result.stdout.splitlines() if ": error:" in line and not line.startswith(PROGRAM)
    ]
    return {int(n) for n in re.findall(rf"^{re.escape(PROGRAM)}:(\d+): error", result.stdout, re.M)}, elsewhere


with open(PROGRAM, encoding="utf-8") as program:
    wrong = {number for number, line in enumerate(program, 1) if "# wrong" in line}
refused, others = refused_lines()
print("1..3")
print("ok 1" if refused <= wrong else "not ok 1", "what is right is accepted", refused - wrong or "")
print("ok 2" if wrong <= refused else "not ok 2", "what is wrong is refused", wrong - refused or "")
print("not ok 3" if others else "ok 3", "the stubs themselves")
sys.exit(refused != wrong or bool(others))
