#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Budgets, permits and full requests from Python. Usage: test-python-budget.py, with the paths to the library and
the overrides set."""

import asyncio
import gc
import io
import os
import sys

from cases import BufPool, leak, new_pool, raises, refuses, run, test, when_waiting
from gi.repository import Gio, GLib

SCALE = int(os.environ.get("TEST_SCALE", "100"))


async def until_waiting(source, count=1):
    while source.waiting != count:
        await asyncio.sleep(0)


@test
def permits_are_contexts():
    budget = BufPool.Budget.new(100)
    with budget.acquire(60) as permit:
        assert budget.allocated_memory == 60 and permit.get_size() == 60 and permit
        assert repr(permit) == "<BufPool.Permit for 60 bytes>"
        raises(Gio.IOErrorEnum.WOULD_BLOCK, budget.try_acquire, 60, domain="g-io-error-quark")
        raises(Gio.IOErrorEnum.TIMED_OUT, budget.acquire, 60, timeout=0.001, domain="g-io-error-quark")
        raises(BufPool.PoolError.TOO_LARGE, budget.acquire, 101)
        assert permit.shrink(1) and budget.allocated_memory == 1
    assert budget.allocated_memory == 0 and not permit and repr(permit) == "<BufPool.Permit, released>"
    try:
        with budget.acquire(60):
            raise KeyError
    except KeyError:
        assert budget.allocated_memory == 0
    budget.acquire(100)  # dropped
    assert budget.allocated_memory == 0
    refuses(TypeError, BufPool.Permit)


@test
def budgets_check_numbers():
    budget = BufPool.Budget(max_memory=100, name="checked")
    assert budget.name == "checked" and budget.parent is None
    child = BufPool.Budget.new_child(budget, 50)
    assert child.parent == budget and child.max_memory == 50
    refuses(TypeError, BufPool.Budget.new_child, None, 50)
    refuses(TypeError, BufPool.Budget, allocated_memory=1)
    for bad in (-1, 1.5, "1", 2**64, float("inf"), None):
        for function in (budget.acquire, budget.try_acquire, budget.acquire_async, BufPool.Budget.new):
            refuses((TypeError, OverflowError), function, bad)
        for name in ("max_memory", "reserved_memory"):
            refuses((TypeError, OverflowError), setattr, budget, name, bad)
    assert "n_bytes must be an integer, not inf" == refuses(TypeError, budget.acquire, float("inf"))
    budget.max_waiting = -1
    refuses(OverflowError, setattr, budget, "max_waiting", -2)


@test
def errors_name_the_figures():
    budget = BufPool.Budget(max_memory=100, name="total")
    for n_bytes in (101, 2**63, 2**64 - 1):
        assert raises(BufPool.PoolError.TOO_LARGE, budget.acquire, n_bytes).message == (
            f"Cannot acquire {n_bytes} bytes: the budget never has more than 100 bytes"
        )
    with budget.acquire(60) as permit:
        assert raises(
            Gio.IOErrorEnum.WOULD_BLOCK, budget.try_acquire, 41, domain="g-io-error-quark"
        ).message == "Cannot acquire 41 bytes: only 40 of 100 bytes are available, and 0 other requests are waiting"
        assert raises(BufPool.PoolError.OUT_OF_RANGE, permit.shrink, 61).message == (
            "A permit for 60 bytes cannot shrink to 61 bytes"
        )
        for bad in (-1, 1.5, "1", 2**64, None):
            refuses((TypeError, OverflowError), permit.shrink, bad)
        budget.max_waiting = 0
        assert raises(BufPool.PoolError.OVERLOADED, budget.acquire, 41).message == (
            "Cannot acquire 41 bytes: 0 requests are already waiting for the budget, and no more may wait"
        )
    raises(BufPool.PoolError.RELEASED, permit.shrink, 0)
    raises(BufPool.PoolError.INVALID_CONFIG, BufPool.Pool.new_with_budget, 0, budget)
    for bad in (None, 16, pool_without := new_pool()):
        message = refuses(TypeError, BufPool.Pool.new_with_budget, 16, bad)
        assert message == f"budget must be a BufPool.Budget, not {bad!r}", message
    assert pool_without.budget is None
    pool = BufPool.Pool.new_with_budget(16, budget)
    assert raises(BufPool.PoolError.TOO_LARGE, pool.allocate, 9, at_least=7).message == (
        'Cannot allocate 7 buffers of 16 bytes (112 bytes): the budget "total" never has more than 100 bytes'
    )
    assert raises(BufPool.PoolError.INVALID_COUNT, pool.allocate, 1, at_least=2).message == (
        "Cannot allocate from 2 to 1 buffers: the minimum is greater than the maximum"
    )
    with pool.allocate(3) as allocation:
        assert raises(BufPool.PoolError.OUT_OF_RANGE, allocation.shrink, 4).message == (
            "An allocation of 3 buffers cannot shrink to 4: the valid range is from 1 to 3"
        )
        for bad in (-1, 1.5, "1", 2**64, None):
            refuses((TypeError, OverflowError), allocation.shrink, bad)
    assert budget.allocated_memory == 0


@test
def full_requests():
    pool = new_pool(8)
    a = pool.allocate(16, at_least=1)
    assert len(a) == 8
    raises(Gio.IOErrorEnum.TIMED_OUT, pool.allocate, 4, at_least=1, timeout=0.001, domain="g-io-error-quark")
    raises(BufPool.PoolError.TOO_LARGE, pool.allocate, 16, at_least=9)
    when_waiting(pool, a.release)
    del a
    with pool.allocate(4, at_least=4, priority=GLib.PRIORITY_HIGH) as b:
        assert len(b) == 4 and b.shrink(2) and len(b) == 2
        view = b.view()
        raises(BufPool.PoolError.IN_USE, b.shrink, 1)
        del view
    for bad in (1.5, -1, "1"):
        refuses((TypeError, OverflowError), pool.allocate, 4, at_least=bad)
        refuses((TypeError, OverflowError), pool.allocate, 4, priority=2**40 if bad == -1 else bad)


@test
def a_pool_below_a_budget():
    budget = BufPool.Budget.new(64)
    pool = BufPool.Pool.new_with_budget(16, budget)
    assert pool.budget == budget
    with pool.allocate(2):
        assert budget.allocated_memory == 32
        raises(BufPool.PoolError.TOO_LARGE, pool.allocate, 5)
    with budget.acquire(64):
        raises(Gio.IOErrorEnum.TIMED_OUT, pool.allocate, 1, timeout=0, domain="g-io-error-quark")
    assert budget.allocated_memory == 0


@test
def awaited_permits_come_back():
    """A task that is cancelled when its permit was granted loses nothing."""

    async def main():
        budget = BufPool.Budget.new(100)
        async with budget.acquire_async(60) as permit:
            assert permit.get_size() == 60
        assert budget.allocated_memory == 0
        for i in range(SCALE):
            held = budget.acquire(100)
            task = asyncio.create_task(budget.acquire_async(1 + i % 100))
            await until_waiting(budget)
            held.release()
            for _ in range(i % 7):
                await asyncio.sleep(0)
            task.cancel()
            try:
                (await task).release()
            except asyncio.CancelledError:
                pass
            (await budget.acquire_async(100)).release()
        held = budget.acquire(100)
        try:
            await asyncio.wait_for(budget.acquire_async(1), 0.01)
        except asyncio.TimeoutError:
            assert budget.waiting == 0
        assert held

    asyncio.run(main())


@test
def the_options_of_a_full_request_are_optional():
    with new_pool(4).allocate_full(1, 8) as a, BufPool.Budget.new(100).acquire_full(60) as permit:
        assert len(a) == 4 and permit.get_size() == 60


@test
def full_requests_are_awaited():
    async def main():
        pool = new_pool(4)
        async with pool.allocate_async(8, at_least=1) as a:
            assert len(a) == 4
            try:
                await pool.allocate_async(1, timeout=0.001)
            except GLib.Error as error:
                assert error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.TIMED_OUT)
            task = asyncio.create_task(pool.allocate_async(4, GLib.PRIORITY_HIGH, at_least=2))
            await until_waiting(pool)
            task.cancel()
            await asyncio.wait([task])
            assert pool.waiting == 0
        assert len(await pool.allocate_full_async(1, 3)) == 3

    asyncio.run(main())
    refuses(TypeError, new_pool().allocate_async, 1, 0, None, print, at_least=1)


@test
def a_callback_that_raises_loses_no_permit():
    budget = BufPool.Budget.new(100)
    loop = GLib.MainLoop()
    served = []

    def bad(_budget, _result):
        raise ValueError("a bug in the program")

    def good(source, result):
        served.append(source.acquire_finish(result).get_size())
        loop.quit()

    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        budget.acquire_async(100, GLib.PRIORITY_DEFAULT, None, bad)
        budget.acquire_async(100, GLib.PRIORITY_DEFAULT, None, good)
        GLib.timeout_add_seconds(20, loop.quit)
        loop.run()
    finally:
        sys.stderr = stderr
    assert served == [100]


@test
def garbage_that_holds_permits_is_found():
    budget = BufPool.Budget.new(100)
    gc.disable()
    try:
        leak(budget.acquire(100))
        budget.acquire(100).release()
        leak(budget.acquire(100))
        asyncio.run(budget.acquire_async(100).__aenter__()).release()
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(run())
