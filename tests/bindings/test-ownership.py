#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs a program in another language under valgrind: objects of the library are neither accessed after they
are freed, nor leaked. Usage: test-ownership.py VALGRIND SUPPRESSIONS INTERPRETER PROGRAM

Interpreters have errors and leaks, too. So only errors count in which the library appears: where memory was
accessed, allocated, or freed."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

LIMIT = 280  # seconds
OURS = "libbufpool-1.0.so"


def run(arguments, report):
    valgrind, suppressions, interpreter, program = arguments
    options = [
        "--xml=yes",
        "--xml-file=" + report,
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect",
        "--num-callers=30",
        "--smc-check=all-non-file",
        "--suppressions=" + suppressions,
    ]
    environment = dict(
        os.environ, PYTHONMALLOC="malloc", GJS_DISABLE_JIT="1", G_SLICE="always-malloc", G_DEBUG="fatal-criticals"
    )
    return subprocess.run([valgrind, *options, interpreter, program], env=environment, timeout=LIMIT, check=False)


def describe(error):
    lines = [error.findtext("kind")]
    for frame in error.iter("frame"):
        place = frame.findtext("file") or os.path.basename(frame.findtext("obj") or "?")
        lines.append(f"  {frame.findtext('fn') or '???'} ({place}:{frame.findtext('line') or '?'})")
    return "\n".join(lines)


def is_ours(error):
    """Whether the library appears in a stack before libffi, through which all calls between the library and
    the interpreter go: what a callback does is not counted."""
    for stack in error.iter("stack"):
        for frame in stack.iter("frame"):
            place = os.path.basename(frame.findtext("obj") or "")
            if place.startswith(OURS):
                return True
            if place.startswith("libffi"):
                break
    return False


def main():
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        done = run(sys.argv[1:], report.name)
        root = ElementTree.parse(report.name).getroot()
    errors = [error for error in root.findall("error") if is_ours(error)]
    leaks = [error for error in errors if error.findtext("kind").startswith("Leak")]
    checks = {
        "the program succeeds": done.returncode == 0,
        "no freed memory is accessed": len(errors) == len(leaks),
        "nothing leaks": not leaks,
    }
    for error in errors:
        print("# " + describe(error).replace("\n", "\n# "))
    print(f"1..{len(checks)}")
    for number, (name, passed) in enumerate(checks.items(), 1):
        print("ok" if passed else "not ok", number, name)
    return not all(checks.values())


if __name__ == "__main__":
    sys.exit(main())
