# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What makes BufPool natural in Python: construction that checks, waiting that Ctrl-C can interrupt, and
allocations that are sequences of writable buffers."""

import asyncio
import ctypes
import gc
import threading
from operator import index as whole_number

from gi.repository import Gio, GLib, GObject

from ..module import get_introspection_module
from ..overrides import override

BufPool = get_introspection_module("BufPool")

# PyGObject makes an enumeration when it is first looked at: then adds the values, so that another thread
# could find it without. Importing is done by one thread.
_WOULD_BLOCK = Gio.IOErrorEnum.WOULD_BLOCK
_TIMED_OUT = Gio.IOErrorEnum.TIMED_OUT
_RELEASED = int(BufPool.PoolError.RELEASED)

# Likewise, and PyGObject 3.58 crashes when a signal interrupts it while it makes flags of a number.
_READ_ONLY = {
    specification.name.replace("-", "_")
    for kind in (BufPool.Pool, BufPool.Budget, BufPool.Reader)
    for specification in GObject.list_properties(kind)
    if not specification.flags & GObject.ParamFlags.WRITABLE
}

__all__ = []


def _count(number, thing):
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _released():
    return GLib.Error.new_literal(
        GLib.quark_from_string("buf-pool-error-quark"),
        "The allocation was released",
        _RELEASED,
    )


def _check_settable(properties):
    # For GObject it is a bug in the program, and not an error.
    for name in properties:
        if name.replace("-", "_") in _READ_ONLY:
            raise TypeError(f"{name} cannot be set")


def _check_cancellable(cancellable):
    # PyGObject refuses it, too, but since 3.50 it calls a function of GLib with NULL meanwhile.
    if cancellable is not None and not isinstance(cancellable, Gio.Cancellable):
        raise TypeError(f"a cancellable is to be a Gio.Cancellable, not {cancellable!r}")


def _wait(function, *arguments, cancellable):
    """Calls a C function that may wait. What is garbage, but in a cycle, may hold what it waits for, so
    the collector runs before."""
    gc.collect()
    return _interruptibly(function, *arguments, cancellable=cancellable)


def _interruptibly(function, *arguments, cancellable):
    """In the main thread, a C function that may wait is called in another thread, since a signal does not
    reach Python while it waits in C. It is one wait, so a request keeps its place in the queue. An
    interruption cancels it."""
    if threading.current_thread() is not threading.main_thread():
        return function(*arguments, cancellable)

    interruption = Gio.Cancellable()
    done = threading.Event()
    result = []

    def run():
        try:
            result.append(function(*arguments, interruption))
        except Exception as error:  # pylint: disable=broad-except
            result.append(error)
        done.set()

    handler = 0
    if cancellable is not None:
        # Not Gio.Cancellable.connect(), whose counterpart waits for handlers that are running.
        handler = GObject.Object.connect(cancellable, "cancelled", lambda _: interruption.cancel())
        if cancellable.is_cancelled():
            interruption.cancel()
    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
        # Not Thread.join(), which Python 3.11 takes for a success when it was interrupted.
        done.wait()
    except BaseException:
        interruption.cancel()
        if thread.is_alive():
            done.wait()
        result.clear()
        raise
    finally:
        if handler:
            GObject.Object.disconnect(cancellable, handler)

    # The thread may still be on its way out: it is not to hold what is returned.
    outcome = result.pop()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _unless(code, function, *arguments):
    """What the function returns, or None if it fails with this code of Gio."""
    try:
        return function(*arguments)
    except GLib.Error as error:
        if not error.matches(Gio.io_error_quark(), code):
            raise
    return None


def _wait_if_needed(function, counts, timeout_us, io_priority, cancellable):
    """Calls a C function with a time limit and a priority. It is tried first, since waiting is expensive."""
    _check_cancellable(cancellable)
    return _unless(_TIMED_OUT, function, *counts, 0, io_priority, cancellable) or _wait(
        function, *counts, timeout_us, io_priority, cancellable=cancellable
    )


def _start(function, operation, arguments, callback, user_data):
    """Starts an asynchronous operation. What its callback is given as the result can then be claimed."""
    _check_cancellable(arguments[-1])
    if callback is None:
        return function(*arguments)
    if not callable(callback):
        raise TypeError(f"a callback is to be callable, not {callback!r}")

    def on_done(source, result, *_):
        result.bufpool_operation = operation
        callback(source, result, *user_data)

    return function(*arguments, on_done)


def _claim(result, *operation):
    """A result can be fetched once, and from where it belongs: for GLib anything else is a bug in the
    program, and not an error."""
    if getattr(result, "bufpool_operation", None) != operation:
        raise TypeError("not a result of this operation, or it was fetched before")
    result.bufpool_operation = None
    return result


class Pool(BufPool.Pool):
    """A buffer pool with a memory budget. A configuration that makes no sense raises GLib.Error."""

    def __init__(self, **properties):
        _check_settable(properties)
        for name in properties:
            if name in ("buffer_size", "max_memory", "alignment"):
                properties[name] = whole_number(properties[name])
        super().__init__(**properties)
        self.init(None)

    @classmethod
    def new(cls, buffer_size, max_memory):
        """The same as the constructor."""
        return cls(buffer_size=buffer_size, max_memory=max_memory)

    def allocate(self, n_buffers, cancellable=None):
        """Allocates n_buffers buffers, and waits for the budget if need be."""
        return self._allocate(super().allocate, whole_number(n_buffers), cancellable=cancellable)

    def allocate_timeout(self, n_buffers, timeout_us, cancellable=None):
        """Like allocate(), but waits for at most timeout_us microseconds; without a limit if negative."""
        arguments = whole_number(n_buffers), whole_number(timeout_us)
        return self._allocate(super().allocate_timeout, *arguments, cancellable=cancellable)

    def _allocate(self, allocate, *arguments, cancellable):
        _check_cancellable(cancellable)
        if cancellable is not None and cancellable.is_cancelled():
            return allocate(*arguments, cancellable)
        allocation = _unless(_WOULD_BLOCK, self.try_allocate, arguments[0])
        if allocation is not None:
            return allocation
        return _wait(allocate, *arguments, cancellable=cancellable)

    def try_allocate(self, n_buffers):
        """Like allocate(), but fails with Gio.IOErrorEnum.WOULD_BLOCK instead of waiting."""
        return super().try_allocate(whole_number(n_buffers))

    def allocate_async(self, n_buffers, io_priority, cancellable=None, callback=None, *user_data):
        """Like allocate(), but calls back from the main loop."""
        arguments = whole_number(n_buffers), whole_number(io_priority), cancellable
        if arguments[0] * self.get_buffer_size() > self.get_available_memory():
            self._collect_before_a_task_waits()
        return _start(super().allocate_async, ("allocate", self), arguments, callback, user_data)

    def _collect_before_a_task_waits(self):
        """What is garbage, but in a cycle, may hold what it is going to wait for. Not for each of many."""
        if self.get_waiting() == 0:
            gc.collect()

    def allocate_finish(self, result):
        """Fetches the allocation, in the callback."""
        return super().allocate_finish(_claim(result, "allocate", self))

    # allocate_async() is the pinned request of C, whose own finish function is visible, too.
    allocate_pinned_finish = allocate_finish

    def allocate_full(self, min_buffers, max_buffers, timeout_us, io_priority, cancellable=None):
        """Allocates between min_buffers and max_buffers buffers, with a time limit and a priority."""
        counts = whole_number(min_buffers), whole_number(max_buffers)
        limits = whole_number(timeout_us), whole_number(io_priority)
        return _wait_if_needed(super().allocate_full, counts, *limits, cancellable)

    def allocate_full_async(
        self, min_buffers, max_buffers, timeout_us, io_priority, cancellable=None, callback=None, *user_data
    ):
        """Like allocate_full(), but calls back from the main loop."""
        counts = whole_number(min_buffers), whole_number(max_buffers)
        arguments = *counts, whole_number(timeout_us), whole_number(io_priority), cancellable
        if counts[0] * self.get_buffer_size() > self.get_available_memory():
            self._collect_before_a_task_waits()
        return _start(super().allocate_full_async, ("allocate_full", self), arguments, callback, user_data)

    def allocate_full_finish(self, result):
        """Fetches the result of allocate_full_async(), in the callback."""
        return super().allocate_full_finish(_claim(result, "allocate_full", self))

    allocate_full_pinned_finish = allocate_full_finish

    def drain(self, cancellable=None):
        """Waits until nothing is outstanding."""
        return self._drain(super().drain, cancellable=cancellable)

    def drain_timeout(self, timeout_us, cancellable=None):
        """Like drain(), but waits for at most timeout_us microseconds; without a limit if negative."""
        return self._drain(super().drain_timeout, whole_number(timeout_us), cancellable=cancellable)

    def _drain(self, drain, *arguments, cancellable):
        return _unless(
            _TIMED_OUT, super().drain_timeout, 0, cancellable
        ) or _wait(drain, *arguments, cancellable=cancellable)

    def drain_async(self, io_priority, cancellable=None, callback=None, *user_data):
        """Like drain(), but calls back from the main loop."""
        arguments = whole_number(io_priority), cancellable
        if self.get_active_allocations() > 0:
            self._collect_before_a_task_waits()
        return _start(super().drain_async, ("drain", self), arguments, callback, user_data)

    def drain_finish(self, result):
        """Fetches the result of drain_async(), in the callback."""
        return super().drain_finish(_claim(result, "drain", self))

    def set_max_memory(self, max_memory):
        """Changes the budget, in bytes."""
        super().set_max_memory(whole_number(max_memory))


Pool = override(Pool)
__all__.append("Pool")


class Budget(BufPool.Budget):
    """A limit on memory that several pools share, and a semaphore whose unit is a byte."""

    def __init__(self, **properties):
        _check_settable(properties)
        super().__init__(**properties)

    def acquire(self, n_bytes, cancellable=None):
        """Acquires n_bytes bytes, and waits for them if necessary."""
        return self.acquire_full(n_bytes, -1, GLib.PRIORITY_DEFAULT, cancellable)

    def acquire_full(self, n_bytes, timeout_us, io_priority, cancellable=None):
        """Like acquire(), with a time limit in microseconds, negative for none, and a priority."""
        counts = (whole_number(n_bytes),)
        limits = whole_number(timeout_us), whole_number(io_priority)
        return _wait_if_needed(super().acquire_full, counts, *limits, cancellable)

    def acquire_async(self, n_bytes, io_priority, cancellable=None, callback=None, *user_data):
        """Like acquire(), but calls back from the main loop."""
        arguments = whole_number(n_bytes), whole_number(io_priority), cancellable
        return _start(super().acquire_async, ("acquire", self), arguments, callback, user_data)

    def acquire_finish(self, result):
        """Fetches the permit, in the callback."""
        return super().acquire_finish(_claim(result, "acquire", self))


Budget = override(Budget)
__all__.append("Budget")


class PoolAllocation(BufPool.PoolAllocation):
    """A sequence of buffers: writable memoryviews, without a copy."""

    def __init__(self, *_args, **_kwargs):
        raise TypeError("allocations come from a pool: use BufPool.Pool.allocate()")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def __len__(self):
        return self.get_length()

    def __bool__(self):
        return not self.is_released()

    def _memory(self):
        """All bytes, as a flat memoryview that keeps the data, though not the budget's owner."""
        view = self.get_bytes()
        address = self.get_first() if view is not None else None
        if not address:
            raise _released()

        array = (ctypes.c_ubyte * view.get_size()).from_address(address)
        array.view = view
        return memoryview(array).cast("B")

    def view(self):
        """All buffers as one writable memoryview of bytes. It stays valid when the allocation goes."""
        return self._memory()

    def __buffer__(self, _flags):
        return self._memory()

    def __getitem__(self, index):
        memory = self._memory()
        size = self.get_buffer_size()
        length = len(memory) // size if size else 0
        if isinstance(index, slice):
            start, stop, step = index.indices(length)
            if step == 1:
                return memory[start * size : max(start, stop) * size]
            return [memory[i * size : (i + 1) * size] for i in range(start, stop, step)]

        i = index.__index__()
        if not -length <= i < length:
            raise IndexError(f"buffer index {i} is out of range {-length} to {length - 1}")
        return memory[i % length * size : (i % length + 1) * size]

    def __iter__(self):
        for i in range(len(self)):
            yield self[i]

    def __bytes__(self):
        return bytes(self._memory())

    def _reaches(self, index):
        """Whether there is a buffer to be returned: there is none any more when it was released."""
        index, length = whole_number(index), len(self)
        if length and not 0 <= index < length:
            raise IndexError(f"buffer index {index} is out of range 0 to {length - 1}")
        return length > 0

    def get_data(self):
        """All bytes, as a copy. It is made while a view holds them: another thread may release them."""
        return bytes(self)

    def get_buffer(self, index):
        """The address of a buffer."""
        return super().get_buffer(index) if self._reaches(index) else None

    def get_buffer_bytes(self, index):
        """A buffer as a GLib.Bytes, without a copy."""
        return super().get_buffer_bytes(index) if self._reaches(index) else None

    def fill(self, offset, data):
        """Copies data into the allocation."""
        return super().fill(whole_number(offset), data)

    def extract(self, offset, size):
        """A part of the allocation, as a copy."""
        return super().extract(whole_number(offset), whole_number(size))

    def fill_from_stream(self, stream, offset, size, cancellable=None):
        """Reads into the allocation; returns True, and how many bytes that were."""
        return super().fill_from_stream(stream, whole_number(offset), whole_number(size), cancellable)

    def fill_from_stream_async(
        self, stream, offset, size, io_priority, cancellable=None, callback=None, *user_data
    ):
        """Like fill_from_stream(), but calls back from the main loop."""
        numbers = whole_number(offset), whole_number(size), whole_number(io_priority)
        arguments = stream, *numbers, cancellable
        operation = "fill_from_stream", self
        return _start(super().fill_from_stream_async, operation, arguments, callback, user_data)

    def fill_from_stream_finish(self, result):
        """Fetches the result of fill_from_stream_async(), in the callback."""
        return super().fill_from_stream_finish(_claim(result, "fill_from_stream", self))

    def write_to_stream(self, stream, offset, size, cancellable=None):
        """Writes a part of the allocation; returns True, and how many bytes that were."""
        return super().write_to_stream(stream, whole_number(offset), whole_number(size), cancellable)

    def write_to_stream_async(
        self, stream, offset, size, io_priority, cancellable=None, callback=None, *user_data
    ):
        """Like write_to_stream(), but calls back from the main loop."""
        numbers = whole_number(offset), whole_number(size), whole_number(io_priority)
        arguments = stream, *numbers, cancellable
        operation = "write_to_stream", self
        return _start(super().write_to_stream_async, operation, arguments, callback, user_data)

    def write_to_stream_finish(self, result):
        """Fetches the result of write_to_stream_async(), in the callback."""
        return super().write_to_stream_finish(_claim(result, "write_to_stream", self))

    def __repr__(self):
        if self.is_released():
            return "<BufPool.PoolAllocation, released>"
        sizes = _count(len(self), "buffer"), _count(self.get_buffer_size(), "byte")
        return "<BufPool.PoolAllocation of " + " of ".join(sizes) + ">"


PoolAllocation = override(PoolAllocation)
__all__.append("PoolAllocation")


class _OperationThread:
    """A main loop for operations that are awaited where no GLib main loop runs. It is made when needed."""

    _lock = threading.Lock()
    _context = None

    @classmethod
    def call(cls, function):
        """Calls the function in the thread of the main loop."""
        with cls._lock:
            if cls._context is None:
                cls._context = GLib.MainContext.new()
                threading.Thread(target=cls._run, args=[cls._context], daemon=True).start()
        source = GLib.Idle()
        source.set_callback(lambda *_: function())
        source.attach(cls._context)

    @staticmethod
    def _run(context):
        context.push_thread_default()
        while True:
            context.iteration(True)


async def _operate(start, finish):
    """Awaits an operation, in any event loop of asyncio. If it is cancelled, it ends before this does."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    cancellable = Gio.Cancellable()

    def settle(outcome):
        if not future.done():
            future.set_result(outcome)

    def on_done(_source, result, *_):
        try:
            outcome = finish(result), None
        except GLib.Error as error:
            outcome = None, error
        loop.call_soon_threadsafe(settle, outcome)

    if GLib.MainContext.ref_thread_default().is_owner():
        start(GLib.PRIORITY_DEFAULT, cancellable, on_done)
    else:
        _OperationThread.call(lambda: start(GLib.PRIORITY_DEFAULT, cancellable, on_done))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        cancellable.cancel()
        await future
        raise


class Reader(BufPool.Reader):
    """Reads a stream in blocks that come from a pool. Iteration, also with "async for", yields read-only
    memoryviews, without a copy. A block returns to the pool when its last view is gone."""

    def __init__(self, **properties):
        _check_settable(properties)
        for name in ("n_buffers", "read_ahead"):
            if name in properties:
                properties[name] = whole_number(properties[name])
        super().__init__(**properties)

    @classmethod
    def new(cls, stream, pool, n_buffers):
        """The same as the constructor."""
        return cls(stream=stream, pool=pool, n_buffers=n_buffers)

    def set_read_ahead(self, read_ahead):
        """Changes how many blocks are read ahead."""
        super().set_read_ahead(whole_number(read_ahead))

    def _lacks_memory(self):
        pool = self.get_pool()
        return pool is not None and self.get_n_buffers() * pool.get_buffer_size() > pool.get_available_memory()

    def _is_idle(self):
        stream = self.get_stream()
        return isinstance(stream, Gio.PollableInputStream) and stream.can_poll() and not stream.is_readable()

    def next_block(self, cancellable=None):
        """The next block as a GLib.Bytes, or None at the end."""
        _check_cancellable(cancellable)
        if self._lacks_memory():
            return _wait(super().next_block, cancellable=cancellable)
        if self._is_idle():
            return _interruptibly(super().next_block, cancellable=cancellable)
        return super().next_block(cancellable)

    def next_block_async(self, io_priority, cancellable=None, callback=None, *user_data):
        """Like next_block(), but calls back from the main loop."""
        if self._lacks_memory() and self.get_pool().get_waiting() == 0:
            gc.collect()
        arguments = whole_number(io_priority), cancellable
        return _start(super().next_block_async, ("next_block", self), arguments, callback, user_data)

    def next_block_finish(self, result):
        """Fetches the block, in the callback."""
        return super().next_block_finish(_claim(result, "next_block", self))

    def splice(self, target, flags, cancellable=None):
        """Writes all blocks to another stream."""
        _check_cancellable(cancellable)
        return _interruptibly(super().splice, target, flags, cancellable=cancellable)

    def splice_async(self, target, flags, io_priority, cancellable=None, callback=None, *user_data):
        """Like splice(), but calls back from the main loop."""
        arguments = target, flags, whole_number(io_priority), cancellable
        return _start(super().splice_async, ("splice", self), arguments, callback, user_data)

    def splice_finish(self, result):
        """Fetches the result of splice_async(), in the callback."""
        return super().splice_finish(_claim(result, "splice", self))

    @staticmethod
    def _view(block):
        size = block.get_size()
        array = (ctypes.c_ubyte * size).from_address(block.get_region(1, 0, size))
        array.block = block
        return memoryview(array).cast("B").toreadonly()

    def __iter__(self):
        return self

    def __next__(self):
        block = self.next_block()
        if block is None:
            raise StopIteration
        return self._view(block)

    def __aiter__(self):
        return self

    async def __anext__(self):
        block, error = await _operate(self.next_block_async, self.next_block_finish)
        if error is not None:
            raise error
        if block is None:
            raise StopAsyncIteration
        return self._view(block)


Reader = override(Reader)
__all__.append("Reader")
