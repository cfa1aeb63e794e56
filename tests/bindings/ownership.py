# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The program that test-ownership.py runs under valgrind: every call that transfers ownership."""

import gc

import gi

gi.require_version("BufPool", "1.0")
from cases import when_waiting  # noqa: E402
from gi.repository import BufPool, Gio, GLib, GObject  # noqa: E402

loop = GLib.MainLoop()


def fails(function, *arguments):
    try:
        function(*arguments)
    except GLib.Error:
        return
    raise AssertionError("nothing was raised")


def cancelled():
    cancellable = Gio.Cancellable()
    cancellable.cancel()
    return cancellable


def views_and_copies(pool):
    a = pool.allocate(2)
    view, data, second, copy = a.view(), a.get_bytes(), a.get_buffer_bytes(1), a.copy()
    a.fill(0, b"text")
    assert bytes(a[0][:4]) == a.extract(0, 4).get_data() == b"text" and second.get_size() == 16
    value = GObject.Value(BufPool.PoolAllocation.__gtype__, a)
    again = value.get_value()
    a.release()
    assert copy.is_released() and again.is_released() and bytes(view[:4]) == data.get_data()[:4]


def errors(pool):
    full = pool.allocate(4)
    fails(pool.allocate, 0)
    fails(pool.allocate, 5)
    fails(pool.try_allocate, 1)
    fails(pool.allocate_timeout, 1, 1000)
    fails(pool.allocate, 1, cancelled())
    fails(pool.drain_timeout, 0)
    fails(full.extract, 0, 65)
    full.release()
    fails(full.fill, 0, b"1")
    fails(BufPool.Pool.new, 0, 0)


def streams(pool):
    a = pool.allocate(1)
    source = Gio.MemoryInputStream.new_from_bytes(GLib.Bytes.new(b"0123456789abcdef"))
    target = Gio.MemoryOutputStream.new_resizable()

    def on_written(_, result):
        assert a.write_to_stream_finish(result) == 16
        loop.quit()

    def on_read(_, result):
        assert a.fill_from_stream_finish(result) == 16
        a.write_to_stream_async(target, 0, 16, 0, None, on_written)

    a.fill_from_stream_async(source, 0, 16, 0, None, on_read)
    loop.run()
    a.fill_from_stream_async(source, 0, 99, 0, None, lambda *_: loop.quit())
    loop.run()


def requests(pool):
    got = []

    def on_allocated(source, result):
        got.append(source.allocate_finish(result))
        loop.quit()

    full = pool.allocate(4)
    pool.allocate_async(1, 0, None, on_allocated)
    pool.allocate_async(1, 0, cancelled(), lambda *_: None)
    full.release()
    loop.run()
    pool.drain_async(0, None, lambda p, result: (p.drain_finish(result), loop.quit()))
    got.clear()
    loop.run()
    # A result that is never fetched.
    pool.allocate_async(1, 0, None, lambda *_: loop.quit())
    loop.run()


def threads(pool):
    full = pool.allocate(4)
    thread = when_waiting(pool, full.release)
    del full
    pool.allocate(4)
    thread.join()


for _ in range(3):
    for work in (views_and_copies, errors, streams, requests, threads):
        of_its_own = BufPool.Pool(buffer_size=16, max_memory=64)
        work(of_its_own)
        gc.collect()
        assert of_its_own.props.allocated_memory == 0, work
        kept = of_its_own.allocate(1)
        of_its_own.close()
        del of_its_own
        kept = None
