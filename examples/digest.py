#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Prints the SHA-256 of files, like sha256sum, but hashes several files at once within a memory limit.

Shows a reader with threads. Each thread hashes the blocks of its file in place: the reader writes to the
memory of the pool, and hashlib reads a memoryview of it. Nothing is copied, and other threads run meanwhile.
A thread frees a block before it reads the next one, so one block is enough for any number of threads.

Uninstalled: meson devenv -C build -w . python3 examples/digest.py FILE..."""

import argparse
import hashlib
import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import gi

gi.require_version("BufPool", "1.0")
from gi.repository import BufPool, Gio, GLib  # noqa: E402

try:
    from gi.repository import GioUnix  # since GLib 2.80

    UnixInputStream = GioUnix.InputStream
except ImportError:
    UnixInputStream = Gio.UnixInputStream


def size(text):
    """A number of bytes, optionally followed by K, M or G."""
    unit = " KMG".find(text[-1:].upper())
    return int(text[:-1]) << 10 * unit if unit > 0 else int(text)


def parse_options():
    parser = argparse.ArgumentParser(prog="digest", description="Prints the SHA-256 of each file, as sha256sum does.")
    parser.add_argument("--max-memory", metavar="BYTES", type=size, default="16M", help="memory for file data")
    parser.add_argument("--buffer-size", metavar="BYTES", type=size, default="16K", help="size of a buffer")
    parser.add_argument("--buffers", metavar="N", type=int, default=4, help="buffers in each allocation")
    parser.add_argument("--workers", metavar="N", type=int, default=os.cpu_count(), help="files hashed at once")
    parser.add_argument("--check", metavar="SUMS", help="read checksums from a file, and check them")
    parser.add_argument("--quiet", action="store_true", help="with --check, do not print OK")
    parser.add_argument("--version", action="version", version=f"digest (libbufpool) {BufPool.VERSION_S}")
    parser.add_argument("names", metavar="FILE", nargs="*")
    options = parser.parse_args()
    if bool(options.names) == bool(options.check):
        parser.error("specify files, or one file with --check")
    if not 1 <= options.workers <= 256:
        parser.error("--workers: from 1 to 256")
    return options


def open_stream(name):
    """Not with Gio.File, whose names are text."""
    if name == "-":
        return UnixInputStream.new(0, False)
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    return UnixInputStream.new(fd, True)


def digest(pool, n_buffers, name):
    """The SHA-256 of one file, in hexadecimal."""
    checksum = hashlib.sha256()
    for view in BufPool.Reader.new(open_stream(name), pool, n_buffers):
        checksum.update(view)
        del view  # the variable would hold its block while the reader waits for the next one
    return checksum.hexdigest()


def escape(name):
    """Like sha256sum: one line for each file."""
    return os.fsencode(name).replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def read_sums(path):
    """The names and the checksums in the output of digest or sha256sum."""
    with open(0 if path == "-" else path, "rb") as file:
        lines = file.read().split(b"\n")
    found = [re.fullmatch(rb"(\\?)([0-9a-fA-F]{64}) [ *](.+)", line) for line in lines]
    bad = sum(1 for line, match in zip(lines, found) if line and not match)
    if bad:
        lines_are = "line is" if bad == 1 else "lines are"
        print(f"digest: WARNING: {bad} {lines_are} improperly formatted", file=sys.stderr)
    unescaped = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
    sums = []
    for mark, hexadecimal, name in (match.groups() for match in found if match):
        if mark:
            name = re.sub(rb"\\[\\nr]", lambda match: unescaped[match[0]], name)
        sums.append((os.fsdecode(name), hexadecimal.decode().lower()))
    return sums


def mark_of(name):
    """Before an escaped line."""
    return b"\\" if escape(name) != os.fsencode(name) else b""


def print_check(name, verdict):
    sys.stdout.buffer.write(b"%s%s: %s\n" % (mark_of(name), escape(name), verdict.encode()))


def print_digest(name, hexadecimal):
    sys.stdout.buffer.write(b"%s%s  %s\n" % (mark_of(name), hexadecimal.encode(), escape(name)))


def print_error(name, message):
    sys.stdout.flush()
    sys.stderr.buffer.write(b"digest: %s: %s\n" % (escape(name), message.encode()))


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends immediately, no matter what the threads wait for
    options = parse_options()
    try:
        pool = BufPool.Pool(buffer_size=options.buffer_size, max_memory=options.max_memory)
        pool.try_allocate(options.buffers).release()  # fails immediately if it could never be granted
    except (GLib.Error, OverflowError) as error:
        print("digest:", getattr(error, "message", error), file=sys.stderr)
        return 2
    try:
        sums = read_sums(options.check) if options.check else [(name, None) for name in options.names]
    except OSError as error:
        print_error(options.check, error.strerror)
        return 1

    status = 0 if sums else 1
    with ThreadPoolExecutor(options.workers) as threads:
        digests = [threads.submit(digest, pool, options.buffers, name) for name, _ in sums]
        for (name, expected), future in zip(sums, digests):
            try:
                hexadecimal, verdict = future.result(), "OK"
                if expected not in (None, hexadecimal):
                    status, verdict = 1, "FAILED"
            except (OSError, GLib.Error) as error:
                print_error(name, error.strerror if isinstance(error, OSError) else error.message)
                status, hexadecimal, verdict = 1, None, "FAILED open or read"
            if expected and not (options.quiet and verdict == "OK"):
                print_check(name, verdict)
            elif not expected and hexadecimal:
                print_digest(name, hexadecimal)
    return status


if __name__ == "__main__":
    sys.exit(main())
