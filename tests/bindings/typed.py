# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""A program for mypy: test-types.py checks that mypy accepts it, except for the wrong lines. Each comment
"wrong" marks a line that mypy has to refuse."""

import asyncio

from gi.repository import BufPool, Gio, GLib


def by_threads(pool: BufPool.Pool) -> int:
    with pool.allocate(4, timeout=1.5) as allocation:
        for buffer in allocation:
            buffer[:4] = b"text"
        view: memoryview = allocation[0]
        allocation.fill(0, GLib.Bytes.new(b"data"))
        n_read: int = allocation.fill_from_stream(Gio.MemoryInputStream.new(), 0, 16)
        return len(allocation) + n_read + view[0] + pool.max_memory


def on_allocated(pool: BufPool.Pool, result: Gio.AsyncResult) -> None:
    pool.allocate_finish(result).release()


async def by_tasks(pool: BufPool.Pool) -> None:
    async with pool.allocate_async(4) as allocation:
        n_written: int = await allocation.write_to_stream_async(Gio.MemoryOutputStream.new_resizable(), 0, 16)
    one, two = await asyncio.gather(pool.allocate_async(1), pool.allocate_async(n_written))
    one.release()
    two.release()
    drained: bool = await pool.drain_async()
    pool.allocate_async(1, GLib.PRIORITY_DEFAULT, None, on_allocated)
    pool.max_memory = 1 << int(drained)


async def by_budgets(budget: BufPool.Budget) -> None:
    pool = BufPool.Pool(buffer_size=4096, budget=BufPool.Budget.new_child(budget, 1 << 20))
    with budget.acquire(4096, timeout=1.0, priority=GLib.PRIORITY_HIGH) as permit:
        permit.shrink(100)
    async with budget.acquire_async(100):
        pool.allocate(16, at_least=1, priority=GLib.PRIORITY_LOW).shrink(1)
    allocation = await pool.allocate_async(16, at_least=1, timeout=0.5)
    budget.max_memory = allocation.get_length()


def mistakes(pool: BufPool.Pool) -> None:
    pool.allocate("4")  # wrong
    pool.allocate(4, timeout="1")  # wrong
    pool.waiting = 4  # wrong
    pool.allocate(1).fill("0", b"text")  # wrong
    pool.allocate_async(1).release()  # wrong
    BufPool.Pool(4096)  # wrong
