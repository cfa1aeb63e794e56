#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Calls each function of budgets, permits and full requests as introspection describes it, without the overrides.
Usage: test-python-plain.py, with the path to the library set."""

import sys

from cases import BufPool, run, test
from gi.repository import GLib

NORMAL = GLib.PRIORITY_DEFAULT


def call(function, *arguments):
    """Calls an asynchronous function, and returns its source and its result."""
    done = []
    function(*arguments, lambda source, result: done.append((source, result)))
    while not done:
        GLib.MainContext.default().iteration(True)
    return done[0]


@test
def there_are_no_overrides():
    assert BufPool.Budget.__module__ == "gi.repository.BufPool", BufPool.Budget.__module__


@test
def limits_of_budgets():
    root = BufPool.Budget.new(1000)
    budget = BufPool.Budget.new_child(root, 500)
    budget.set_max_memory(400)
    budget.set_reserved_memory(100)
    budget.set_max_waiting(5)
    assert (budget.get_max_memory(), budget.get_reserved_memory(), budget.get_max_waiting()) == (400, 100, 5)
    assert budget.get_parent() == root and root.get_parent() is None and budget.get_name() is None
    assert BufPool.Budget(name="named", max_memory=1, max_waiting=0).get_name() == "named"


@test
def permits():
    budget = BufPool.Budget.new(400)
    budget.set_reserved_memory(100)
    taken = [budget.acquire(100, None), budget.acquire_full(200, 0, GLib.PRIORITY_HIGH, None), budget.try_acquire(0)]
    assert [permit.get_size() for permit in taken] == [100, 200, 0] and budget.get_waiting() == 0
    assert (budget.get_allocated_memory(), budget.get_available_memory()) == (300, 100)
    assert taken[1].shrink(50) and not taken[1].is_released()
    source, result = call(budget.acquire_async, 150, NORMAL, None)
    taken.append(source.acquire_finish(result))
    for permit in taken:
        permit.release()
        assert permit.is_released()
    assert budget.get_allocated_memory() == 0


@test
def full_requests():
    budget = BufPool.Budget.new(800)
    pool = BufPool.Pool.new_with_budget(50, budget)
    pool.set_reserved_memory(50)
    pool.set_max_waiting(3)
    assert (pool.get_reserved_memory(), pool.get_max_waiting(), pool.get_budget()) == (50, 3, budget)
    allocation = pool.allocate_full(1, 6, -1, NORMAL, None)
    assert allocation.get_length() == 6 and allocation.shrink(2) and allocation.get_length() == 2
    source, result = call(pool.allocate_full_async, 1, 4, -1, NORMAL, None)
    other = source.allocate_full_finish(result)
    assert other.get_length() == 4 and budget.get_allocated_memory() == 300
    allocation.release()
    other.release()
    assert budget.get_allocated_memory() == 0


@test
def memory_limit():
    assert 0 < BufPool.get_memory_limit() <= 2**53 - 1


if __name__ == "__main__":
    sys.exit(run())
