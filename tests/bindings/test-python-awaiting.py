#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""BufPool with asyncio, in the standard loop, and in GLib's if there is one.
Usage: test-python-awaiting.py, with the paths to the library and the overrides set."""

import asyncio
import gc
import io
import os
import sys
import time
import warnings

import gi
from cases import BufPool, Collections, leak, new_pool, raises, refuses, run, test
from gi.repository import Gio, GLib

SCALE = int(os.environ.get("TEST_SCALE", "100"))


def runners():
    yield asyncio.run
    try:
        from gi.events import GLibEventLoopPolicy
    except ImportError:
        return
    yield lambda main: run_in_loop(GLibEventLoopPolicy().new_event_loop(), main)


def run_in_loop(loop, main):
    """PyGObject 3.50 logs a critical warning if the garbage collector closes its loop."""
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def asynchronous(function):
    """A test that is a coroutine, run in each kind of loop."""

    def run_in_each():
        for runner in runners():
            runner(function())

    run_in_each.__name__ = function.__name__
    return test(run_in_each)


async def until_waiting(pool, count=1):
    while pool.waiting != count:
        await asyncio.sleep(0)


async def fails(code, awaitable, domain="g-io-error-quark"):
    try:
        await awaitable
    except GLib.Error as error:
        assert error.domain == domain and error.code == int(code), error
    else:
        raise AssertionError("it did not fail")


@asynchronous
async def defaults():
    pool = new_pool(4)
    allocation = await pool.allocate_async(4)
    assert len(allocation) == 4 and pool.allocated_memory == 64
    later = asyncio.create_task(pool.allocate_async(1, GLib.PRIORITY_LOW, Gio.Cancellable()))
    await until_waiting(pool)
    allocation.release()
    assert len(await later) == 1


@asynchronous
async def errors_arrive():
    pool = new_pool(4)
    held = await pool.allocate_async(4)
    await fails(BufPool.PoolError.TOO_LARGE, pool.allocate_async(5), "buf-pool-error-quark")
    await fails(BufPool.PoolError.INVALID_COUNT, pool.allocate_async(0), "buf-pool-error-quark")
    for bad in (-1, 1.5, "1", None):
        refuses((TypeError, OverflowError), pool.allocate_async, bad)
        refuses((TypeError, OverflowError), pool.allocate_async, 1, None if bad == -1 else bad)
    waiting = asyncio.create_task(pool.allocate_async(1))
    await until_waiting(pool)
    pool.close()
    await fails(BufPool.PoolError.CLOSED, waiting, "buf-pool-error-quark")
    assert held


@asynchronous
async def a_cancelled_await_withdraws_its_request_immediately():
    pool = new_pool()
    held = await pool.allocate_async(1)
    task = asyncio.create_task(pool.allocate_async(1))
    await until_waiting(pool)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        assert pool.waiting == 0
    else:
        raise AssertionError("it was not cancelled")
    held.release()
    (await pool.allocate_async(1)).release()


@asynchronous
async def wait_for_withdraws():
    pool = new_pool()
    held = await pool.allocate_async(1)
    try:
        await asyncio.wait_for(pool.allocate_async(1), 0.01)
    except asyncio.TimeoutError:
        assert pool.waiting == 0
    else:
        raise AssertionError("it did not time out")
    if hasattr(asyncio, "timeout"):
        try:
            async with asyncio.timeout(0.01):
                await pool.allocate_async(1)
        except asyncio.TimeoutError:
            assert pool.waiting == 0
    assert held


@asynchronous
async def many_within_the_budget():
    pool = new_pool(4)
    peak = 0

    async def job():
        nonlocal peak
        async with pool.allocate_async(1) as allocation:
            peak = max(peak, pool.allocated_memory)
            await asyncio.sleep(0)
            assert len(allocation) == 1

    await asyncio.gather(*(job() for _ in range(100)))
    if hasattr(asyncio, "TaskGroup"):
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(pool.allocate_async(1)).add_done_callback(lambda task: task.result().release())
    assert peak <= 64 and pool.allocated_memory == 0


@asynchronous
async def a_failed_group_withdraws():
    if not hasattr(asyncio, "TaskGroup"):
        return
    pool = new_pool()
    held = pool.allocate(1)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(pool.allocate_async(1))
            await until_waiting(pool, 10)
            raise KeyError
    except BaseExceptionGroup:  # noqa: F821
        assert pool.waiting == 0 and held


@asynchronous
async def cancelled_at_any_moment():
    """The request may be granted at the same time: then its memory is freed."""
    pool = new_pool()
    for i in range(5 * SCALE):
        held = pool.allocate(1)
        task = asyncio.create_task(pool.allocate_async(1))
        await until_waiting(pool)
        held.release()
        for _ in range(i % 7):
            await asyncio.sleep(0)
        if i % 3 == 0:
            time.sleep(0.0001)
        task.cancel()
        try:
            (await task).release()
        except asyncio.CancelledError:
            pass
        (await pool.allocate_async(1)).release()
    assert pool.allocated_memory == 0


@asynchronous
async def the_cancellable_still_cancels():
    pool = new_pool()
    held = pool.allocate(1)
    cancellable = Gio.Cancellable()
    task = asyncio.create_task(pool.allocate_async(1, cancellable=cancellable))
    await until_waiting(pool)
    cancellable.cancel()
    await fails(Gio.IOErrorEnum.CANCELLED, task)
    other = Gio.Cancellable()
    task = asyncio.create_task(pool.allocate_async(1, cancellable=other))
    await until_waiting(pool)
    task.cancel()
    await asyncio.wait([task])
    assert held and not other.is_cancelled()


@asynchronous
async def garbage_is_found_while_awaiting():
    pool = new_pool()
    held = [pool.allocate(1)]
    gc.disable()
    try:
        with Collections() as collections:
            task = asyncio.create_task(pool.allocate_async(1))
            while collections.n == 0:
                await asyncio.sleep(0.001)
        leak(held.pop())
        (await task).release()
    finally:
        gc.enable()


@asynchronous
async def draining():
    pool = new_pool()
    held = await pool.allocate_async(1)
    task = asyncio.create_task(pool.drain_async())
    await asyncio.sleep(0)
    held.release()
    assert await task


@asynchronous
async def streams():
    allocation = await new_pool().allocate_async(1)
    source = Gio.MemoryInputStream.new_from_data(b"0123456789")
    assert await allocation.fill_from_stream_async(source, 2, 10) == 10
    target = Gio.MemoryOutputStream.new_resizable()
    assert await allocation.write_to_stream_async(target, 3, 4) == 4
    target.close(None)
    assert target.steal_as_bytes().get_data() == b"1234"
    out_of_range = allocation.fill_from_stream_async(source, 17, 1)
    await fails(BufPool.PoolError.OUT_OF_RANGE, out_of_range, "buf-pool-error-quark")


@asynchronous
async def a_cancelled_transfer_ends():
    read, write = os.pipe()
    source = getattr(gi.repository.Gio, "UnixInputStream").new(read, True)
    allocation = await new_pool().allocate_async(1)
    try:
        await asyncio.wait_for(allocation.fill_from_stream_async(source, 0, 16), 0.01)
    except asyncio.TimeoutError:
        pass
    os.write(write, b"x")
    while source.has_pending():
        await asyncio.sleep(0)
    os.close(write)


@asynchronous
async def contexts():
    pool = new_pool()
    async with pool.allocate_async(1) as allocation:
        assert pool.allocated_memory == 16
    async with await pool.allocate_async(1) as allocation:
        assert len(allocation) == 1
    assert pool.allocated_memory == 0
    try:
        async with pool.allocate_async(1):
            raise KeyError
    except KeyError:
        assert pool.allocated_memory == 0


@asynchronous
async def an_awaitable_that_is_never_awaited_allocates_nothing():
    pool = new_pool()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool.allocate_async(1)
        gc.collect()
    assert pool.allocated_memory == 0 and pool.waiting == 0


@test
def loops_that_end_first():
    """An allocation that is granted after its loop is gone is freed."""
    pool = new_pool()
    for _ in range(20):
        held = pool.allocate(1)

        async def leave():
            asyncio.create_task(pool.allocate_async(1))
            await until_waiting(pool)

        asyncio.run(leave())
        assert pool.waiting == 0
        held.release()
        assert pool.drain(timeout=30)


@test
def a_callback_that_raises_loses_nothing():
    pool = new_pool()
    loop = GLib.MainLoop()
    served = []

    def bad(_pool, _result):
        raise ValueError("a bug in the program")

    def good(source, result):
        served.append(source.allocate_finish(result))
        loop.quit()

    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        pool.allocate_async(1, GLib.PRIORITY_DEFAULT, None, bad)
        pool.allocate_async(1, GLib.PRIORITY_DEFAULT, None, good)
        GLib.timeout_add_seconds(20, loop.quit)
        loop.run()
    finally:
        sys.stderr = stderr
    assert served and sys.last_value is not None


@test
def a_cancelled_callback_that_raises():
    pool = new_pool()
    loop = GLib.MainLoop()
    cancellable = Gio.Cancellable()
    cancellable.cancel()

    def bad(_pool, _result):
        loop.quit()
        raise ValueError("a bug in the program")

    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        pool.allocate_async(1, GLib.PRIORITY_DEFAULT, cancellable, bad)
        loop.run()
        assert isinstance(sys.last_value, ValueError)
    finally:
        sys.stderr = stderr


@test
def without_a_loop():
    pool = new_pool()
    held = pool.allocate(1)
    refuses(RuntimeError, pool.allocate_async(1).send, None)
    assert held
    raises(BufPool.PoolError.INVALID_COUNT, new_pool().allocate, 0)


if __name__ == "__main__":
    sys.exit(run())
