#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Data and numbers in Python: what can be copied into an allocation, numpy, properties as attributes, and the
errors. Usage: test-python-data.py, with the paths to the library and the overrides set."""

import array
import sys

from cases import BufPool, new_pool, refuses, run, test
from gi.repository import GLib, GObject

try:
    import numpy
except ImportError:
    numpy = None


@test
def fill_copies_all_bytes_of_any_kind_of_data():
    allocation = new_pool(4).allocate(4)
    floats = array.array("f", [0.5, -0.25, 1.0])
    numbers = memoryview(array.array("I", [0x01020304, 0xFFFFFFFF]))
    sources = {
        b"bytes": b"bytes",
        b"bytearray": bytearray(b"bytearray"),
        b"list": list(b"list"),
        b"tuple": tuple(b"tuple"),
        b"GLib.Bytes": GLib.Bytes.new(b"GLib.Bytes"),
        b"ace": memoryview(b"abcdef")[::2],
        floats.tobytes(): floats,
        numbers.tobytes(): numbers,
        b"": b"",
    }
    for expected, data in sources.items():
        allocation.fill(0, bytes([9]) * 64)
        allocation.fill(3, data)
        result = allocation.extract(0, 64).get_data()
        assert result == b"\x09" * 3 + expected + b"\x09" * (61 - len(expected)), (data, result)
    other = new_pool().allocate(1)
    other.fill(0, b"another one here")
    allocation.fill(0, other)
    assert bytes(allocation[0]) == b"another one here"


@test
def fill_refuses_the_rest():
    allocation = new_pool().allocate(1)
    for bad in ("text", 5, None, 1.5, object(), [256], [-1], ["a"], [1.5], {1.5: 2}):
        refuses((TypeError, ValueError), allocation.fill, 0, bad)


@test
def arrays_of_numpy_are_views():
    if numpy is None:
        print("# SKIP: no numpy")
        return
    pool = new_pool(2)
    allocation = pool.allocate(2)
    view = numpy.asarray(allocation)
    assert view.shape == (32,) and view.dtype == numpy.uint8
    view[17] = 42
    assert allocation[1][1] == 42
    copy = numpy.array(allocation)
    copy[17] = 1
    assert allocation[1][1] == 42
    assert numpy.asarray(allocation, numpy.float32)[17] == 42
    allocation.release()
    view[0] = 7
    assert pool.allocated_memory == 32
    del view
    assert pool.allocated_memory == 0


@test
def properties_are_attributes():
    pool = BufPool.Pool(buffer_size=32, max_memory=128, alignment=16, name="attributes")
    for specification in GObject.list_properties(BufPool.Pool):
        name = specification.name.replace("-", "_")
        assert getattr(pool, name) == pool.get_property(specification.name), name
    assert pool.buffer_size == 32 and pool.name == "attributes" and not pool.closed
    pool.max_memory = 256
    pool.max_cached_memory = 0
    assert (pool.max_memory, pool.max_cached_memory) == (256, 0) and pool.props.max_memory == 256
    pool.max_cached_memory = -1
    for name in ("buffer_size", "allocated_memory", "waiting", "closed"):
        refuses(AttributeError, setattr, pool, name, 1)
    for bad in (-1, 1.5, "1", None, 2**64, float("inf")):
        refuses((TypeError, OverflowError), setattr, pool, "max_memory", bad)
    refuses(OverflowError, setattr, pool, "max_cached_memory", -2)


@test
def errors_name_the_parameter():
    pool = new_pool()
    allocation = pool.allocate(1)
    infinite = float("inf")
    assert refuses(TypeError, pool.allocate, 1.5) == "n_buffers must be an integer, not 1.5"
    assert refuses(TypeError, pool.try_allocate, infinite) == "n_buffers must be an integer, not inf"
    assert refuses(OverflowError, pool.allocate, -1) == "n_buffers must be a non-negative integer, not -1"
    assert "n_buffers" in refuses(OverflowError, pool.allocate, 2**64)
    assert "max_memory" in refuses(TypeError, BufPool.Pool, max_memory="1")
    assert "max_cached_memory" in refuses(OverflowError, BufPool.Pool, max_cached_memory=-2)
    assert "offset" in refuses(TypeError, allocation.fill, None, b"")
    assert "size" in refuses(OverflowError, allocation.extract, 0, -1)
    assert "target" in refuses(OverflowError, pool.trim, -1)
    assert "stream" in refuses(TypeError, allocation.fill_from_stream_async, None, 0, 1)
    assert "cancellable" in refuses(TypeError, pool.drain, "now")


if __name__ == "__main__":
    sys.exit(run())
