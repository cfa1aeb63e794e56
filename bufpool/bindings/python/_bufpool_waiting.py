# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Waiting in a thread, so that a signal interrupts the main thread and garbage is collected.

A signal does not reach Python while its main thread waits in C. So the C function runs in a helper thread,
and the main thread waits for a plain lock. The classes of threading are written in Python, so an interruption
can leave their locks locked. Wherever an interruption occurs, the request is cancelled, which withdraws it
immediately. If it was granted in the meantime, its memory is freed. No thread waits for the helper."""

import _thread
import atexit
import os
import queue
import sys
import threading

from gi.repository import Gio, GLib, GObject

from ._bufpool_collecting import BRIEF, Waiting, collector, progress_of


def discard(value):
    """Frees a result that no caller will take."""
    if hasattr(value, "release"):
        value.release()


def unless(code, function, *arguments):
    """Returns what the function returns, or None if it fails with this GIO error code. PyGObject creates the
    error in Python, and prints what a signal handler raises meanwhile; that exception is raised here."""
    try:
        return function(*arguments)
    except GLib.Error as error:
        if not error.matches(Gio.io_error_quark(), code):
            raise
    except RuntimeError:
        raise getattr(sys, "last_value", None) or KeyboardInterrupt from None
    return None


class Interruption:
    """A separate cancellable that the caller's cancellable cancels, too. Cancelling it does not cancel the
    caller's. This does not use Gio.Cancellable.connect(), because its counterpart waits for running
    handlers."""

    def __init__(self, cancellable):
        self.cancellable = Gio.Cancellable()
        self._other = cancellable
        self._handler = 0

    def __enter__(self):
        if self._other is not None:
            cancel = self.cancellable.cancel
            self._handler = GObject.Object.connect(self._other, "cancelled", lambda _: cancel())
            if self._other.is_cancelled():
                cancel()
        return self.cancellable

    def __exit__(self, *_):
        if self._handler:
            GObject.Object.disconnect(self._other, self._handler)


class _Job:
    """A call in a helper thread. The result is taken once, by the caller or by discard()."""

    def __init__(self, function, arguments, cancellable):
        self._function = function
        self._arguments = arguments
        self._interruption = Interruption(cancellable)
        self._outcome = []
        self._abandoned = False
        self.started = False
        self.ended = False
        self.done = _thread.allocate_lock()
        self.done.acquire()

    def run(self):
        """In the helper."""
        self.started = True
        if self._abandoned:
            return
        try:
            with self._interruption as cancellable:
                self._outcome.append((self._function(*self._arguments, cancellable), None))
        except Exception as error:  # pylint: disable=broad-except
            self._outcome.append((None, error))
        if self._abandoned:
            self._discard()
        self.ended = True

    def abandon(self):
        """The caller was interrupted."""
        self._abandoned = True
        self._interruption.cancellable.cancel()
        self._discard()

    def _discard(self):
        try:
            discard(self._outcome.pop()[0])
        except IndexError:
            pass

    def take(self):
        """What the function returned or raised."""
        value, error = self._outcome.pop()
        if error is not None:
            raise error
        return value


class _Helpers:
    """Threads that wait for others. A few idle ones are kept: usually one. Each step leaves a usable state,
    no matter where an interruption occurs: sets and queues change in one step."""

    # How many are kept when there is nothing to do.
    KEPT = 2

    def __init__(self):
        self._jobs = queue.SimpleQueue()
        self._unfinished = set()
        self._threads = set()

    def add(self, job):
        """Makes a thread run the job."""
        self._unfinished.add(job)
        self._jobs.put(job)
        if len(self._threads) < len(self._unfinished):
            _thread.start_new_thread(self._run, (object(), self._jobs))

    def abandon(self, job):
        """An interruption may occur before the job is in the queue. A job that is in it and has not started
        does nothing, so it needs no thread."""
        job.abandon()
        if not job.started:
            self._unfinished.discard(job)

    def _run(self, thread, jobs):
        # A thread counts itself, so an interruption cannot occur in between.
        self._threads.add(thread)
        while job := self._next(thread, jobs):
            job.run()
            self._unfinished.discard(job)
            job.done.release()
            del job

    def _next(self, thread, jobs):
        """Returns None if the thread should end. A thread that adds a job in the meantime does not count this
        thread anymore, or has added the job before."""
        if len(self._threads) <= len(self._unfinished) + self.KEPT:
            return jobs.get()
        self._threads.discard(thread)
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return None
        self._threads.add(thread)
        return job


class Service:
    """A thread with a main context, for work that must continue while other threads wait. It starts when it
    is first needed, and ends before the interpreter does, because a GLib source must not call Python
    later."""

    def __init__(self):
        self._context = GLib.MainContext()
        self._calls = queue.SimpleQueue()
        self._started = False
        self._ends = False
        self._ended = _thread.allocate_lock()
        self._ended.acquire()

    def stop(self):
        """Called at the end of the program."""
        self._ends = True
        if self._started:
            self._context.wakeup()
            self._ended.acquire(timeout=1)

    def call(self, function):
        """Calls a function in the thread, with the service's context as thread-default context."""
        self._calls.put(function)
        if self._started:
            self._context.wakeup()
        elif not self._ends:
            self._started = True
            _thread.start_new_thread(self._run, ())

    def later(self, seconds, function):
        """Calls a function in the thread after a delay."""

        def start():
            source = GLib.timeout_source_new(int(seconds * 1000))
            source.set_callback(lambda *_: function())
            source.attach(self._context)

        self.call(start)

    def _run(self):
        self._context.push_thread_default()
        while not self._ends:
            while not self._calls.empty():
                self._calls.get()()
            self._context.iteration(True)
        self._ended.release()


helpers = _Helpers()
service = Service()


def _after_fork():
    helpers.__init__()
    service.__init__()


atexit.register(service.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def wait(source, function, *arguments, cancellable, to_the_end=False):
    """Calls a C function that may wait for this pool or budget, or for something else if that is None. It is
    one wait, so a request keeps its place in the queue. With to_the_end, an interruption waits until the
    cancelled operation has ended, because a stream cannot be used until then."""
    if _thread.get_ident() != threading.main_thread().ident:
        if source is None:
            return function(*arguments, cancellable)
        with Waiting(source, service, service.later):
            return function(*arguments, cancellable)

    job = _Job(function, arguments, cancellable)
    try:
        helpers.add(job)
        delay = BRIEF
        while not job.done.acquire(timeout=delay):
            delay = -1 if source is None else collector.run(progress_of(source))
    except BaseException:
        helpers.abandon(job)
        if to_the_end and job.started and not job.ended:
            job.done.acquire()
        raise
    return job.take()
