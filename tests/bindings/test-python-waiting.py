#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The cost of waiting in Python, and interruptions.
Usage: test-python-waiting.py, with the paths to the library and the overrides set."""

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time

from cases import Collections, leak, new_pool, raises, refuses, run, test, when_waiting
from gi.overrides import _bufpool_collecting as collecting, _bufpool_waiting
from gi.repository import Gio, GLib

SCALE = int(os.environ.get("TEST_SCALE", "100"))


class Heap:
    """A simulated collector and clock: each collection takes some time, and may free something."""

    def __init__(self, cost):
        self.cost = cost
        self.now = 0.0
        self.n_collections = 0
        self.garbage = 0
        self.collector = collecting.Collector(self.collect, lambda: self.now)

    def collect(self):
        self.now += self.cost
        self.n_collections += 1
        self.garbage = 0

    def wait(self, seconds):
        """Waits like a request, while nothing is released."""
        end = self.now + seconds
        while self.now < end:
            self.now += self.collector.run(lambda: self.garbage)


@test
def collections_take_a_small_share():
    for cost in (0.0001, 0.001, 0.01, 0.1, 1.0):
        heap = Heap(cost)
        heap.wait(1000)
        share = heap.n_collections * cost / heap.now
        assert share < 0.04, (cost, share)
        assert heap.n_collections > 5, cost


@test
def collections_go_on():
    """Garbage that is created later is found as well."""
    heap = Heap(0.01)
    heap.wait(100)
    heap.garbage = 1
    heap.wait(1)
    assert heap.garbage == 0


@test
def collections_that_help_are_repeated_soon():
    heap = Heap(0.001)
    heap.wait(100)
    before = heap.n_collections
    begin = heap.now
    while heap.n_collections < before + 100:
        heap.garbage = 1
        heap.now += heap.collector.run(lambda: heap.garbage)
    assert heap.now - begin < 5


def allocate_again_and_again(count):
    """Each request waits, if only briefly, until another thread has released the last."""
    pool = new_pool()
    for _ in range(count):
        held = pool.allocate(1)
        go_on = when_waiting(pool, held.release)
        pool.allocate(1).release()
        go_on.join()


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


@test
def a_wait_does_not_collect_garbage():
    for where in (in_thread, lambda function, *args: function(*args)):
        with Collections() as collections:
            where(allocate_again_and_again, 200)
        assert collections.n < 100, collections.n


@test
def garbage_that_arises_late_is_found():
    """While a request waits, in the main thread or in another."""
    for where in (in_thread, lambda function: function()):
        pool = new_pool()
        held = [pool.allocate(1)]

        def make_garbage(collections, held=held):
            while collections.n == 0:
                time.sleep(0)
            leak(held.pop())

        gc.disable()
        try:
            with Collections() as collections:
                thread = when_waiting(pool, make_garbage, collections)
                where(lambda pool=pool: pool.allocate(1).release())
                thread.join()
        finally:
            gc.enable()


@test
def late_garbage_serves_callbacks():
    pool = new_pool()
    loop = GLib.MainLoop()
    held = [pool.allocate(1)]
    got = []

    def on_allocated(source, result):
        got.append(source.allocate_finish(result))
        loop.quit()

    def make_garbage():
        if collections.n > 0:
            leak(held.pop())
        return bool(held)

    gc.disable()
    try:
        with Collections() as collections:
            pool.allocate_async(1, 0, None, on_allocated)
            GLib.timeout_add(1, make_garbage)
            loop.run()
    finally:
        gc.enable()
    assert len(got) == 1


@test
def timeouts_are_seconds():
    pool = new_pool()
    held = pool.allocate(1, timeout=None)
    for timeout in (0, 0.001, 1e-9):
        raises(Gio.IOErrorEnum.TIMED_OUT, pool.allocate, 1, timeout=timeout, domain="g-io-error-quark")
        raises(Gio.IOErrorEnum.TIMED_OUT, pool.drain, timeout=timeout, domain="g-io-error-quark")
    held.release()
    for timeout in (0, 1e300, float("inf"), None, 1):
        pool.allocate(1, timeout=timeout).release()
    held = pool.allocate(1)
    for bad in (-1, float("nan"), "1", b"1", float("-inf"), []):
        refuses((TypeError, ValueError), pool.allocate, 1, timeout=bad)
        refuses((TypeError, ValueError), pool.drain, timeout=bad)
    assert held


class Interrupted(Exception):
    pass


def interrupt_requests(count, function):
    """Interrupts a request at random moments, repeatedly. Returns how many exceptions arrived, and how many
    were raised."""
    raised = arrived = 0

    def on_alarm(*_):
        nonlocal raised
        raised += 1
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, on_alarm)
    try:
        for _ in range(count):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 5e-4), 0.5)
                while True:
                    function()
            except Interrupted:
                arrived += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)
    return arrived, raised


def count_threads():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0


class Interrupting:
    """A queue in which an interruption occurs before the job is in it."""

    def put(self, _):
        raise Interrupted


@test
def an_interruption_before_the_job_is_queued_keeps_no_thread():
    pool = new_pool()
    held = pool.allocate(1)
    helpers = _bufpool_waiting.helpers
    jobs, helpers._jobs = helpers._jobs, Interrupting()
    try:
        with contextlib.suppress(Interrupted):
            pool.allocate(1)
            raise AssertionError("not interrupted")
    finally:
        helpers._jobs = jobs
    assert not helpers._unfinished
    held.release()


@test
def no_interrupt_is_lost_and_no_thread_stays():
    pool = new_pool()
    held = pool.allocate(1)
    interrupt_requests(5, lambda: pool.allocate(1))
    before = count_threads()
    arrived, raised = interrupt_requests(100 * SCALE, lambda: pool.allocate(1))
    assert arrived == raised == 100 * SCALE, (arrived, raised)
    deadline = time.monotonic() + 30
    while (pool.waiting or count_threads() > before + 3) and time.monotonic() < deadline:
        # After each wait, one of the excess helpers ends.
        raises(Gio.IOErrorEnum.TIMED_OUT, pool.allocate, 1, timeout=0.001, domain="g-io-error-quark")
    assert pool.waiting == 0 and count_threads() <= before + 3, (before, count_threads())
    held.release()
    pool.allocate(1, timeout=0).release()


@test
def an_interrupted_request_that_is_granted_is_freed():
    pool = new_pool()
    stop = threading.Event()

    def take_turns():
        while not stop.is_set():
            pool.allocate(1).release()

    thread = threading.Thread(target=take_turns)
    thread.start()
    interrupt_requests(10 * SCALE, lambda: pool.allocate(1).release())
    stop.set()
    thread.join()
    assert pool.drain(timeout=30)


@test
def helpers_are_reused():
    pool = new_pool()
    names = set()
    for _ in range(50):
        held = pool.allocate(1)
        when_waiting(pool, held.release)
        pool.allocate(1).release()
        names |= set(os.listdir("/proc/self/task"))
    # In addition to the helper and the others: the threads that release, one each time.
    assert len(names) <= 50 + 25, len(names)


@test
def an_interruption_leaves_the_cancellable_alone():
    pool = new_pool()
    held = pool.allocate(1)
    cancellable = Gio.Cancellable()
    interrupt_requests(20, lambda: pool.allocate(1, cancellable))
    assert not cancellable.is_cancelled() and held
    raises(Gio.IOErrorEnum.TIMED_OUT, pool.allocate, 1, cancellable, timeout=0.001, domain="g-io-error-quark")


if __name__ == "__main__":
    sys.exit(run())
