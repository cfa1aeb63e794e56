#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Prints the SHA-256 of files, as sha256sum does, several at once, within a budget of memory.

Shows the pool with threads. Each thread reads a piece of its file into an allocation, and hashes it where
it lies: fill_from_stream() writes to the memory of the pool, and hashlib reads a memoryview of it. Nothing
is copied, and both let the other threads run meanwhile. A thread holds no allocation while it waits for the
next, so any number of threads gets by with a budget of one allocation.

Uninstalled: meson devenv -C build -w . python3 examples/digest.py FILE..."""

import argparse
import hashlib
import os
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
    """A number of bytes, perhaps with K, M or G behind it."""
    unit = " KMG".find(text[-1:].upper())
    return int(text[:-1]) << 10 * unit if unit > 0 else int(text)


def parse_options():
    parser = argparse.ArgumentParser(prog="digest", description="Prints the SHA-256 of each file, as sha256sum does.")
    parser.add_argument("--max-memory", metavar="BYTES", type=size, default="16M", help="memory for file data")
    parser.add_argument("--buffer-size", metavar="BYTES", type=size, default="16K", help="size of a buffer")
    parser.add_argument("--buffers", metavar="N", type=int, default=4, help="buffers in each allocation")
    parser.add_argument("--workers", metavar="N", type=int, default=os.cpu_count(), help="files hashed at once")
    parser.add_argument("names", metavar="FILE", nargs="+")
    options = parser.parse_args()
    if not 1 <= options.workers <= 256:
        parser.error("--workers: from 1 to 256")
    return options


def open_stream(name):
    """Not by way of Gio.File, whose names are text."""
    if name == "-":
        return UnixInputStream.new(0, False)
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    return UnixInputStream.new(fd, True)


def digest(pool, n_buffers, name):
    """The SHA-256 of one file, in hexadecimal."""
    checksum = hashlib.sha256()
    stream = open_stream(name)
    while True:
        with pool.allocate(n_buffers) as allocation:  # waits for the budget
            capacity = allocation.get_allocated_bytes()
            n_read = allocation.fill_from_stream(stream, 0, capacity, None)
            checksum.update(allocation.view()[:n_read])
        if n_read < capacity:
            return checksum.hexdigest()


def escape(name):
    """As sha256sum does it, so that each file has one line."""
    return os.fsencode(name).replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def print_digest(name, hexadecimal):
    escaped = escape(name)
    mark = b"\\" if escaped != os.fsencode(name) else b""
    sys.stdout.buffer.write(b"%s%s  %s\n" % (mark, hexadecimal.encode(), escaped))


def print_error(name, message):
    sys.stdout.flush()
    sys.stderr.buffer.write(b"digest: %s: %s\n" % (escape(name), message.encode()))


def main():
    options = parse_options()
    try:
        pool = BufPool.Pool(buffer_size=options.buffer_size, max_memory=options.max_memory)
        pool.try_allocate(options.buffers).release()  # says at once what could never be granted
    except (GLib.Error, OverflowError) as error:
        print("digest:", getattr(error, "message", error), file=sys.stderr)
        return 2

    status = 0
    with ThreadPoolExecutor(options.workers) as threads:
        digests = [threads.submit(digest, pool, options.buffers, name) for name in options.names]
        for name, future in zip(options.names, digests):
            try:
                print_digest(name, future.result())
            except (OSError, GLib.Error) as error:
                print_error(name, error.strerror if isinstance(error, OSError) else error.message)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
