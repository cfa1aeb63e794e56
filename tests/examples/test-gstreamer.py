#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The example gstreamer. Usage: test-gstreamer.py GSTREAMER"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tap import equal, run_checks  # noqa: E402

GSTREAMER = sys.argv[1]
DATA = os.urandom(3 << 20)


def run(*arguments):
    return subprocess.run([GSTREAMER, *arguments], capture_output=True, text=True, timeout=60, check=False)


def in_folder(check):
    def wrapped():
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "file")
            path.write_bytes(DATA)
            check(path)

    return wrapped


def figures(result):
    equal((result.returncode, result.stderr), (0, ""))
    return list(map(int, re.fullmatch(r"(\d+) bytes, at most (\d+) of (\d+) bytes out\n", result.stdout).groups()))


@in_folder
def check_copy(path):
    copy = path.with_name("copy")
    for options in [], ["--buffer-size", "1000", "--buffers", "3", "--max-memory", "200K"]:
        n_bytes, most, limit = figures(run(*options, path, f"filesink location={copy}"))
        assert n_bytes == len(DATA) and most <= limit
        assert copy.read_bytes() == DATA
        copy.unlink()


@in_folder
def check_held_back(path):
    """The sink is slow: the pipeline holds the whole limit, and no more."""
    slow = "identity sleep-time=300 ! fakesink sync=false"
    n_bytes, most, limit = figures(run("--max-memory", "256K", "--buffer-size", "16K", path, slow))
    equal((n_bytes, most, limit), (len(DATA), 256 << 10, 256 << 10))


@in_folder
def check_errors(path):
    for arguments in [path, "nosuchelement"], [path, "filesink location=/nosuch/folder"], ["/nosuch", "fakesink"]:
        result = run(*arguments)
        assert result.returncode == 1 and result.stderr.startswith("gstreamer: "), result


def check_bad_options():
    for arguments in [], ["a", "b", "c"], ["--colour", "a"], ["--max-memory", "1", "a"], ["--buffers", "many", "a"]:
        result = run(*arguments)
        assert result.returncode == 2 and result.stderr.startswith("gstreamer: "), result


os.environ["LC_ALL"] = "C"
CHECKS = [
    ("a file arrives unchanged", check_copy),
    ("the pool throttles the source", check_held_back),
    ("errors are reported", check_errors),
    ("impossible options are refused", check_bad_options),
]
sys.exit(run_checks(CHECKS))
