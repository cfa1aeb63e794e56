#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The example digest, compared with other programs that compute SHA-256. All files are in the page cache.
Usage: checksums.py DIGEST [--quick] [--json]"""

import os
import subprocess
import sys
import tempfile
import time

from samples import QUICK, measure_in_turn

DIGEST = os.path.abspath(sys.argv[1])
LARGE = 1 << (20 if QUICK else 29)
N_SMALL = 20 if QUICK else 4000
SMALL = 64 * 1024


def measure(command, expected, names=()):
    """In milliseconds. The names go to standard input."""
    begin = time.perf_counter_ns()
    done = subprocess.run(command, input=b"\0".join(names), stdout=subprocess.PIPE, check=True)
    elapsed = (time.perf_counter_ns() - begin) / 1e6
    assert len(done.stdout.splitlines()) == expected, done.stdout[:1000]
    return elapsed


def main():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        os.chdir(folder)
        block = os.urandom(SMALL)
        with open("large", "wb") as file:
            for _ in range(LARGE // SMALL):
                file.write(block)
        names = [str(number) for number in range(N_SMALL)]
        for name in names:
            with open(name, "wb") as file:
                file.write(block)

        workers = str(os.cpu_count())
        in_bytes = [name.encode() for name in names]
        one, many = (f"{LARGE >> 20} MiB", f"{N_SMALL} files of {SMALL >> 10} KiB")
        jobs = [
            (one, "digest", lambda: measure([DIGEST, "--quiet", "large"], 1)),
            (one, "openssl dgst", lambda: measure(["openssl", "dgst", "-sha256", "large"], 1)),
            (one, "sha256sum", lambda: measure(["sha256sum", "large"], 1)),
            (many, "digest", lambda: measure([DIGEST, "--quiet"] + names, N_SMALL)),
            (many, "openssl dgst", lambda: measure(["openssl", "dgst", "-sha256"] + names, N_SMALL)),
            (many, "xargs sha256sum", lambda: measure(
                ["xargs", "-0", "-P" + workers, "-n100", "sha256sum"], N_SMALL, in_bytes)),
        ]
        measure_in_turn("checksums", {}, 9, "ms", jobs)


main()
