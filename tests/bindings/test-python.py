#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""BufPool from Python. Usage: test-python.py, with the paths to the library and the overrides set."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import traceback

import gi

gi.require_version("BufPool", "1.0")
from cases import until_waiting, when_waiting  # noqa: E402
from gi.repository import BufPool, Gio, GLib, GObject  # noqa: E402

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def raises(code, function, *args, domain="buf-pool-error-quark"):
    try:
        function(*args)
    except GLib.Error as error:
        assert error.domain == domain and error.code == int(code) and error.message, (error, code)
        return error
    raise AssertionError(f"{function} raised nothing")


def refuses(exceptions, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except exceptions as error:
        return str(error)
    raise AssertionError(f"{function} took {args} {kwargs}")


@test
def first_example():
    pool = BufPool.Pool(buffer_size=16, max_memory=1024)
    a = pool.allocate(48)
    assert len(a) == 48 and a.get_buffer_size() == 16 and a.get_allocated_bytes() == 768
    for i, buffer in enumerate(a):
        assert len(buffer) == 16 and not buffer.readonly
        buffer[:] = bytes([i]) * 16
    assert bytes(a) == b"".join(bytes([i]) * 16 for i in range(48))
    assert pool.props.allocated_memory == 768 and pool.props.active_allocations == 1


@test
def configuration():
    raises(BufPool.PoolError.INVALID_CONFIG, lambda: BufPool.Pool(buffer_size=64, max_memory=63))
    raises(BufPool.PoolError.INVALID_CONFIG, lambda: BufPool.Pool(buffer_size=0))
    raises(BufPool.PoolError.INVALID_CONFIG, BufPool.Pool.new, 0, 1)
    raises(BufPool.PoolError.INVALID_CONFIG, lambda: BufPool.Pool(buffer_size=24, alignment=16))
    assert BufPool.Pool(buffer_size=48, alignment=16).props.alignment == 16
    assert BufPool.Pool().props.max_memory == BufPool.POOL_UNLIMITED == 2**53 - 1
    for bad in (-1, 2**64, "many", 1.5, None):
        refuses((OverflowError, TypeError, ValueError), BufPool.Pool, buffer_size=bad)


@test
def errors():
    pool = BufPool.Pool(buffer_size=16, max_memory=128)
    for allocate in (pool.allocate, pool.try_allocate, lambda n: pool.allocate_timeout(n, 1000)):
        raises(BufPool.PoolError.INVALID_COUNT, allocate, 0)
        raises(BufPool.PoolError.INVALID_COUNT, allocate, 65536)
        raises(BufPool.PoolError.TOO_LARGE, allocate, 9)
        for bad in (-1, 2**64, "8", None, 1.5, [], pool):
            refuses((OverflowError, TypeError, ValueError), allocate, bad)
    a = pool.allocate(8)
    raises(Gio.IOErrorEnum.WOULD_BLOCK, pool.try_allocate, 1, domain="g-io-error-quark")
    raises(Gio.IOErrorEnum.TIMED_OUT, pool.allocate_timeout, 1, 1000, domain="g-io-error-quark")
    cancelled = Gio.Cancellable()
    cancelled.cancel()
    raises(Gio.IOErrorEnum.CANCELLED, pool.allocate, 1, cancelled, domain="g-io-error-quark")
    raises(BufPool.PoolError.OUT_OF_RANGE, a.fill, 125, b"1234")
    raises(BufPool.PoolError.OUT_OF_RANGE, a.extract, 0, 129)
    pool.close()
    assert raises(BufPool.PoolError.CLOSED, pool.allocate, 1).matches(
        GLib.quark_from_string("buf-pool-error-quark"), BufPool.PoolError.CLOSED
    )
    refuses(TypeError, BufPool.PoolAllocation)
    refuses(TypeError, BufPool.Pool, allocated_memory=16)


@test
def out_of_range():
    a = BufPool.Pool(buffer_size=16, max_memory=128).allocate(8)
    assert a.get_buffer(7) == a.get_first() + 7 * 16 and a.get_buffer_bytes(7).get_size() == 16
    for function in (a.get_buffer, a.get_buffer_bytes):
        for bad in (8, -1, 2**64, 2**70):
            assert refuses(IndexError, function, bad) == f"buffer index {bad} is out of range 0 to 7"
        for bad in (1.5, "0", None):
            refuses(TypeError, function, bad)
    a.release()
    assert a.get_buffer(8) is None and a.get_buffer_bytes(8) is None


@test
def fractions_are_refused():
    pool = BufPool.Pool(buffer_size=16, max_memory=128)
    a = pool.allocate(8)
    stream = Gio.MemoryInputStream.new_from_data(b"text")
    refuses(TypeError, pool.set_max_memory, 256.0)
    refuses(TypeError, pool.drain_timeout, 0.5)
    refuses(TypeError, BufPool.Pool.new, 16.0, 128)
    refuses(TypeError, a.fill, 0.5, b"1")
    refuses(TypeError, a.extract, 0, 1.5)
    refuses(TypeError, a.fill_from_stream, stream, 0.0, 4)
    refuses(TypeError, a.fill_from_stream_async, stream, 0, 4.0, 0)


@test
def anything_but_a_cancellable_is_refused():
    pool = BufPool.Pool(buffer_size=16, max_memory=128)
    a = pool.allocate(8)
    stream = Gio.MemoryInputStream.new_from_data(b"text")
    for bad in (3, "cancellable", pool, Gio.Cancellable):
        refuses(TypeError, pool.allocate, 1, bad)
        refuses(TypeError, pool.allocate_async, 1, 0, bad)
        refuses(TypeError, pool.drain_async, 0, bad)
        refuses(TypeError, a.fill_from_stream_async, stream, 0, 4, 0, bad)
        refuses(TypeError, a.fill_from_stream_async, bad, 0, 4, 0)
        refuses(TypeError, a.write_to_stream_async, stream, 0, 4, 0)


@test
def results_are_fetched_once():
    pool, other = BufPool.Pool(), BufPool.Pool()
    loop = GLib.MainLoop()
    results = []

    def on_done(_, result):
        results.append(result)
        loop.quit()

    pool.allocate_async(1, GLib.PRIORITY_DEFAULT, None, on_done)
    loop.run()
    refuses(TypeError, other.allocate_finish, results[0])
    refuses(TypeError, pool.drain_finish, results[0])
    assert len(pool.allocate_finish(results[0])) == 1
    refuses(TypeError, pool.allocate_finish, results[0])
    refuses(TypeError, pool.allocate_pinned_finish, results[0])
    refuses(TypeError, pool.allocate_finish, Gio.Task.new(pool, None, None))


@test
def sequence():
    a = BufPool.Pool(buffer_size=4, max_memory=64).allocate(5)
    a.fill(0, b"".join(bytes([i]) * 4 for i in range(5)))
    assert bytes(a[0]) == b"\0" * 4 and bytes(a[-1]) == bytes(a[4]) == b"\4" * 4
    assert bytes(a[1:3]) == b"\1\1\1\1\2\2\2\2" and bytes(a[3:1]) == b""
    assert [b[0] for b in a[::2]] == [0, 2, 4] and [b[0] for b in a[::-1]] == [4, 3, 2, 1, 0]
    for bad in (5, -6, 2**70):
        assert refuses(IndexError, a.__getitem__, bad) == f"buffer index {bad} is out of range -5 to 4"
    refuses((TypeError, AttributeError), a.__getitem__, "0")
    assert repr(a) == "<BufPool.PoolAllocation of 5 buffers of 4 bytes>"
    one = BufPool.Pool(buffer_size=1, max_memory=1).allocate(1)
    assert repr(one) == "<BufPool.PoolAllocation of 1 buffer of 1 byte>"
    if sys.version_info >= (3, 12):
        assert bytes(memoryview(a)) == bytes(a)


@test
def no_copies():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = pool.allocate(1)
    first, second = a.view(), a[0]
    first[3] = 77
    assert second[3] == 77 and a.extract(3, 1).get_data() == b"M"
    del a, second
    gc.collect()
    assert first[3] == 77 and pool.props.allocated_memory == 16
    del first
    gc.collect()
    assert pool.props.allocated_memory == 0


@test
def memory_is_shared_with_c():
    pool = BufPool.Pool(buffer_size=4, max_memory=16)
    a = pool.allocate(4)
    view, again = a.view(), a.view()
    assert a.fill_from_stream(Gio.MemoryInputStream.new_from_data(b"0123456789abcdef"), 0, 16) == 16
    assert bytes(view) == bytes(again) == b"0123456789abcdef" and bytes(a[1]) == b"4567"
    view[4:8] = b"ABCD"
    a[2][1] = ord("!")
    output = Gio.MemoryOutputStream.new_resizable()
    assert a.write_to_stream(output, 2, 10) == 10
    output.close(None)
    assert output.steal_as_bytes().get_data() == b"23ABCD8!ab" == a.extract(2, 10).get_data()
    assert bytes(again) == b"0123ABCD8!abcdef" == a.get_bytes().get_data()
    assert ctypes.string_at(a.get_buffer(1), 4) == b"ABCD" == a.get_buffer_bytes(1).get_data()


@test
def views_outlive_all():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = pool.allocate(1)
    gone = []
    pool.weak_ref(gone.append, "gone")
    view, data = a.view(), a.get_bytes()
    view[:4] = b"text"
    del pool, a
    gc.collect()
    assert gone == ["gone"]
    assert bytes(view[:4]) == data.get_data()[:4] == b"text"
    view[0] = ord("T")
    assert data.get_data()[:4] == b"Text"
    del data, view
    gc.collect()


@test
def release():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    with pool.allocate(1) as a:
        old = a.view()
        old[0] = 5
        other = a.copy() if hasattr(a, "copy") else a
    assert not a and len(a) == 0 and repr(other) == "<BufPool.PoolAllocation, released>"
    raises(BufPool.PoolError.RELEASED, a.view)
    raises(BufPool.PoolError.RELEASED, a.fill, 0, b"1")
    raises(BufPool.PoolError.RELEASED, lambda: a[0])
    assert list(a) == [] and old[0] == 5 and pool.props.allocated_memory == 16
    a.release()
    del old
    gc.collect()
    assert pool.props.allocated_memory == 0


def released_in_one_holder(pool, released, others):
    """The other references fail cleanly, views stay readable, and the memory is freed once."""
    view = released.view()
    view[0] = 77
    released.release()
    for other in others:
        assert other.is_released() and len(other) == 0 and not other
        raises(BufPool.PoolError.RELEASED, other.view)
        raises(BufPool.PoolError.RELEASED, other.fill, 0, b"1")
        raises(BufPool.PoolError.RELEASED, other.extract, 0, 1)
        other.release()
    assert view[0] == 77 and pool.props.allocated_memory == 16
    del view
    gc.collect()
    assert pool.props.allocated_memory == 0 and pool.props.active_allocations == 0
    pool.allocate(1)


@test
def copies():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = pool.allocate(1)
    released_in_one_holder(pool, a.copy(), [a, a.copy()])
    assert pool.props.allocated_memory == 0


@test
def values():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    value = GObject.Value(BufPool.PoolAllocation.__gtype__, pool.allocate(1))
    second = GObject.Value(BufPool.PoolAllocation.__gtype__)
    value.copy(second)
    released_in_one_holder(pool, value.get_value(), [value.get_value(), second.get_value()])
    value.unset()
    assert second.get_value().is_released()


class Holder(GObject.Object):
    allocation = GObject.Property(type=BufPool.PoolAllocation)

    @GObject.Signal(arg_types=(BufPool.PoolAllocation,))
    def passed(self, _allocation):
        pass


@test
def signals_and_properties():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    holder = Holder()
    held = []
    holder.connect("passed", lambda _, allocation: held.append(allocation))
    holder.connect("passed", lambda _, allocation: held.append(allocation.copy()))
    holder.allocation = pool.allocate(1)
    holder.emit("passed", holder.allocation)
    held.append(holder.get_property("allocation"))
    released_in_one_holder(pool, held.pop(0), held)


@test
def the_last_of_many_copies_frees():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    copies_of_one = [pool.allocate(1)]
    copies_of_one += [copies_of_one[0].copy() for _ in range(100)]
    while copies_of_one:
        assert pool.props.allocated_memory == 16
        del copies_of_one[0]
    assert pool.props.allocated_memory == 0


@test
def many_by_scope():
    pool = BufPool.Pool(buffer_size=4096, max_memory=4 * 4096)
    for _ in range(100000):
        a = pool.allocate(2)
    assert len(a) == 2


@test
def garbage_in_cycles():
    pool = BufPool.Pool(buffer_size=4096, max_memory=4 * 4096)
    gc.disable()
    try:
        for _ in range(1000):
            cycle = [pool.allocate(2)]
            cycle.append(cycle)
    finally:
        gc.enable()


@test
def garbage_does_not_keep_tasks_waiting():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    loop = GLib.MainLoop()
    done = []

    def on_done(source, result, finish):
        done.append(getattr(source, finish)(result))
        loop.quit()

    gc.disable()
    try:
        for start, finish in (
            (lambda *rest: pool.allocate_async(1, *rest), "allocate_finish"),
            (pool.drain_async, "drain_finish"),
        ):
            done.clear()
            cycle = [pool.allocate(1)]
            cycle.append(cycle)
            del cycle
            start(GLib.PRIORITY_DEFAULT, None, on_done, finish)
            loop.run()
            assert done[0]
    finally:
        gc.enable()


@test
def get_data_while_another_releases():
    data = b"\x55" * (1 << 20)
    pool = BufPool.Pool(buffer_size=1 << 20, max_memory=8 << 20)
    for _ in range(200):
        a = pool.allocate(1)
        a.fill(0, data)
        thread = threading.Thread(target=a.release)
        thread.start()
        try:
            assert a.get_data() == data
        except GLib.Error as error:
            assert error.code == int(BufPool.PoolError.RELEASED)
        thread.join()


@test
def threads():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = [pool.allocate(1)]
    ticks = []

    def drop():
        ticks.extend(range(10))
        a.clear()

    thread = when_waiting(pool, drop)
    b = pool.allocate(1)
    thread.join()
    assert len(ticks) == 10 and len(b) == 1


INTERRUPT = os.kill, os.getpid(), signal.SIGINT


def interrupts(function, *args):
    """Nothing shows that a thread drains, or waits for something else."""
    timer = threading.Timer(0.2, INTERRUPT[0], INTERRUPT[1:])
    timer.start()
    refuses(KeyboardInterrupt, function, *args)
    timer.join()


def interrupts_request(pool, function, *args):
    thread = when_waiting(pool, *INTERRUPT)
    refuses(KeyboardInterrupt, function, *args)
    thread.join()


@test
def interruption():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = pool.allocate(1)
    interrupts_request(pool, pool.allocate, 1)
    interrupts_request(pool, pool.allocate_timeout, 1, -1)
    interrupts_request(pool, pool.allocate_full, 1, 2, -1, GLib.PRIORITY_DEFAULT)
    interrupts(pool.drain)
    interrupts(pool.drain_timeout, -1)
    assert pool.props.waiting == 0
    a.release()
    pool.allocate(1)


@test
def interruption_beside_a_thread():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = pool.allocate(1)
    got = []
    done = threading.Event()

    def run():
        got.append(pool.allocate(1))
        done.set()

    threading.Thread(target=run).start()
    until_waiting(pool)
    interrupts(done.wait)
    assert pool.props.waiting == 1 and not got
    a.release()
    done.wait()
    assert len(got[0]) == 1


@test
def cancellation():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = pool.allocate(1)
    cancellable = Gio.Cancellable()
    thread = when_waiting(pool, cancellable.cancel)
    raises(Gio.IOErrorEnum.CANCELLED, pool.allocate, 1, cancellable, domain="g-io-error-quark")
    thread.join()
    assert a and pool.props.waiting == 0


@test
def asynchronous():
    pool = BufPool.Pool(buffer_size=16, max_memory=16)
    a = pool.allocate(1)
    loop = GLib.MainLoop()
    got = []

    def on_allocated(source, result):
        got.append(source.allocate_finish(result))
        loop.quit()

    pool.allocate_async(1, GLib.PRIORITY_DEFAULT, None, on_allocated)
    GLib.idle_add(a.release)
    loop.run()
    got[0].release()
    assert pool.props.allocated_memory == 0


WAIT_AT_ONCE = """
import sys, threading, gi
gi.require_version("BufPool", "1.0")
from gi.repository import BufPool
sys.setswitchinterval(1e-6)
pool = BufPool.Pool(buffer_size=16, max_memory=16)
barrier = threading.Barrier(8)
failed = []
def allocate():
    barrier.wait()
    try:
        pool.allocate(1).release()
    except AttributeError as error:
        failed.append(error)
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(bool(failed))
"""


@test
def first_waits_at_once():
    """PyGObject adds the values of an enumeration on its first use, where all threads see it."""
    for _ in range(20):
        subprocess.run([sys.executable, "-c", WAIT_AT_ONCE], check=True, timeout=60)


def main():
    tests = [(function.__name__.replace("_", " "), function) for function in TESTS]
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, function) in enumerate(tests, 1):
        try:
            function()
            print("ok", number, name, flush=True)
        except BaseException:  # pylint: disable=broad-except
            failed += 1
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print("not ok", number, name, flush=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
