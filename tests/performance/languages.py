#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The cost of the pool in Python, compared with GLib.Bytes and bytearray. Usage: languages.py [--quick]
[--json]"""

import os
import platform
import tempfile
import time

import gi

gi.require_version("BufPool", "1.0")
from gi.repository import BufPool, Gio, GLib  # noqa: E402

from samples import QUICK, measure_in_turn  # noqa: E402

KIB64 = 64 * 1024


def drop_from_pool(pool):
    with pool.allocate(1):
        pass


def drop_bytearray():
    bytearray(4096)


def drop_bytes(data):
    GLib.Bytes.new(data)


def fill_pool(pool, path):
    with pool.allocate(16) as allocation, open(path, "rb", buffering=0) as file:
        with allocation.view() as view:
            assert file.readinto(view) == KIB64


def fill_pool_from_stream(pool, path):
    with pool.allocate(16) as allocation:
        stream = Gio.File.new_for_path(path).read(None)
        allocation.fill_from_stream(stream, 0, KIB64, None)
        stream.close(None)


def fill_bytearray(path):
    data = bytearray(KIB64)
    with open(path, "rb", buffering=0) as file:
        assert file.readinto(data) == KIB64


def fill_bytes(path):
    stream = Gio.File.new_for_path(path).read(None)
    assert stream.read_bytes(KIB64, None).get_size() == KIB64
    stream.close(None)


def measure(work, count):
    count = 10 if QUICK else count
    begin = time.perf_counter_ns()
    for _ in range(count):
        work()
    return (time.perf_counter_ns() - begin) / count / 1000


def main():
    pool = BufPool.Pool(buffer_size=4096, max_memory=1 << 20)
    data = bytes(4096)
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(KIB64))
        file.flush()
        cases = [
            ("allocate and drop 4 KiB", "libbufpool", lambda: drop_from_pool(pool), 2000),
            ("allocate and drop 4 KiB", "bytearray", drop_bytearray, 20000),
            ("allocate and drop 4 KiB", "GLib.Bytes", lambda: drop_bytes(data), 20000),
            ("fill 64 KiB from a file", "libbufpool", lambda: fill_pool(pool, file.name), 1000),
            ("fill 64 KiB from a file", "libbufpool, stream", lambda: fill_pool_from_stream(pool, file.name), 1000),
            ("fill 64 KiB from a file", "bytearray", lambda: fill_bytearray(file.name), 1000),
            ("fill 64 KiB from a file", "GLib.Bytes, stream", lambda: fill_bytes(file.name), 1000),
        ]
        machine = {"Python": platform.python_version(), "PyGObject": ".".join(map(str, gi.version_info))}
        jobs = [
            (case, subject, lambda work=work, count=count: measure(work, count)) for case, subject, work, count in cases
        ]
        measure_in_turn("python", machine, 11, "µs", jobs)


main()
