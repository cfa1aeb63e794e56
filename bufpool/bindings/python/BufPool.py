# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Makes BufPool idiomatic in Python: checked construction, waits that Ctrl-C interrupts, awaitable calls,
properties as attributes, and allocations that are sequences of writable buffers."""

import ctypes
from operator import index as whole_number

from gi.repository import Gio, GLib, GObject

from ..module import get_introspection_module
from ..overrides import override
from ._bufpool_arguments import MAX_SIZE, MAX_TIME, bytes_of, check_cancellable, integer, microseconds, part, priority as priority_of
from ._bufpool_awaiting import Awaitable, operate, request
from ._bufpool_budget import (
    TIMED_OUT,
    Budget,
    Limits,
    Permit,
    add_attributes,
    check_budget,
    check_properties,
    checked,
    request_full,
)
from ._bufpool_callbacks import call_back, claim, in_context
from ._bufpool_reader import Reader
from ._bufpool_waiting import unless, wait

BufPool = get_introspection_module("BufPool")

# PyGObject creates an enumeration on its first use, and adds the values afterwards, so another thread could
# see it without them. Only one thread imports.
_WOULD_BLOCK = Gio.IOErrorEnum.WOULD_BLOCK
_RELEASED = int(BufPool.PoolError.RELEASED)

__all__ = ["Budget", "Permit", "Reader"]


def _count(number, thing):
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _released():
    return GLib.Error.new_literal(
        GLib.quark_from_string("buf-pool-error-quark"),
        "The allocation has been released",
        _RELEASED,
    )


def _time(timeout_us):
    return integer(timeout_us, "timeout_us", -MAX_TIME, MAX_TIME)


def _counts(min_buffers, max_buffers):
    return integer(min_buffers, "min_buffers"), integer(max_buffers, "max_buffers")


_Pool = BufPool.Pool
_try_allocate = _Pool.try_allocate


class Pool(Limits, BufPool.Pool):
    """A buffer pool with a memory limit. An invalid configuration raises GLib.Error."""

    def __init__(self, **properties):
        super().__init__(**check_properties(properties))
        self.init(None)

    @classmethod
    def new(cls, buffer_size, max_memory):
        """The same as the constructor."""
        return cls(buffer_size=buffer_size, max_memory=max_memory)

    @classmethod
    def new_with_budget(cls, buffer_size, budget):
        """Creates a pool whose allocations count against a budget."""
        check_budget(budget, "budget")
        return cls(buffer_size=buffer_size, budget=budget)

    def allocate(
        self, n_buffers, cancellable=None, *, at_least=None, timeout=None, priority=GLib.PRIORITY_DEFAULT
    ):
        """Allocates n_buffers buffers, or fewer if at_least is given and no more are available. Waits if
        necessary, for at most timeout seconds, or without a limit if it is None."""
        if type(n_buffers) is not int or not 0 <= n_buffers <= MAX_SIZE:
            n_buffers = integer(n_buffers, "n_buffers")
        if at_least is not None or priority != GLib.PRIORITY_DEFAULT:
            least = n_buffers if at_least is None else at_least
            return self.allocate_full(least, n_buffers, microseconds(timeout), priority, cancellable)

        if cancellable is None:
            allocation = unless(_WOULD_BLOCK, _try_allocate, self, n_buffers)
            if allocation is not None:
                return allocation
        return self.allocate_timeout(n_buffers, microseconds(timeout), cancellable)

    def allocate_timeout(self, n_buffers, timeout_us, cancellable=None):
        """Like allocate(), but waits for at most timeout_us microseconds, or without a limit if negative."""
        arguments = integer(n_buffers, "n_buffers"), _time(timeout_us)
        return self._allocate(_Pool.allocate_timeout, *arguments, cancellable=cancellable)

    def allocate_full(
        self, min_buffers, max_buffers, timeout_us=-1, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None
    ):
        """Allocates between min_buffers and max_buffers buffers, with a timeout and a priority."""
        counts = _counts(min_buffers, max_buffers)
        limits = _time(timeout_us), priority_of(io_priority)
        return request_full(self, _Pool.allocate_full, counts, *limits, cancellable)

    def _allocate(self, allocate, *arguments, cancellable):
        check_cancellable(cancellable)
        if cancellable is not None and cancellable.is_cancelled():
            return allocate(self, *arguments, cancellable)
        allocation = unless(_WOULD_BLOCK, _try_allocate, self, arguments[0])
        if allocation is not None:
            return allocation
        return wait(self, allocate, self, *arguments, cancellable=cancellable)

    def try_allocate(self, n_buffers):
        """Like allocate(), but fails with Gio.IOErrorEnum.WOULD_BLOCK instead of waiting."""
        return _try_allocate(self, integer(n_buffers, "n_buffers"))

    def allocate_async(
        self,
        n_buffers,
        io_priority=GLib.PRIORITY_DEFAULT,
        cancellable=None,
        callback=None,
        *user_data,
        at_least=None,
        timeout=None,
    ):
        """Like allocate(), but calls back from the main loop. Without a callback, await the
        result: allocation = await pool.allocate_async(4), or async with pool.allocate_async(4)."""
        n_buffers, io_priority = integer(n_buffers, "n_buffers"), priority_of(io_priority)
        if at_least is not None or timeout is not None:
            if callback is not None:
                raise TypeError("at_least and timeout are for await: with a callback, use allocate_full_async()")
            least = n_buffers if at_least is None else at_least
            return self.allocate_full_async(least, n_buffers, microseconds(timeout), io_priority, cancellable)
        attempt = lambda: unless(_WOULD_BLOCK, _try_allocate, self, n_buffers)  # noqa: E731
        return self._request("allocate", n_buffers, attempt, (n_buffers, io_priority), cancellable, callback, user_data)

    def allocate_full_async(
        self,
        min_buffers,
        max_buffers,
        timeout_us=-1,
        io_priority=GLib.PRIORITY_DEFAULT,
        cancellable=None,
        callback=None,
        *user_data,
    ):
        """Like allocate_full(), but calls back from the main loop, or is awaited."""
        counts, limit = _counts(min_buffers, max_buffers), _time(timeout_us)
        arguments = *counts, limit, priority_of(io_priority)
        attempt = lambda: unless(TIMED_OUT, _Pool.allocate_full, self, *counts, 0, io_priority, None)  # noqa: E731
        return self._request("allocate_full", counts[0], attempt, arguments, cancellable, callback, user_data)

    def _request(self, name, n_buffers, attempt, arguments, cancellable, callback, user_data):
        check_cancellable(cancellable)
        if callback is None:
            return Awaitable(self._await(attempt, name, arguments, cancellable))
        waits = n_buffers * self.get_buffer_size() > self.get_available_memory() or self.get_waiting()
        arguments = self, *arguments, cancellable
        return call_back(*self._operation(name), arguments, callback, user_data, in_context(self) if waits else None)

    def allocate_full_finish(self, result):
        """Fetches the result of allocate_full_async(), in the callback."""
        return super().allocate_full_finish(claim(result, "allocate_full", self))

    allocate_full_pinned_finish = allocate_full_finish

    @staticmethod
    def _functions(name):
        return getattr(_Pool, name + "_async"), getattr(_Pool, name + "_finish")

    def _operation(self, name):
        return *self._functions(name), (name, self)

    def _await(self, attempt, name, arguments, cancellable):
        return request(self, attempt, *self._functions(name), self, *arguments, cancellable=cancellable)

    def allocate_finish(self, result):
        """Fetches the allocation, in the callback."""
        return super().allocate_finish(claim(result, "allocate", self))

    # allocate_async() is the pinned request in C, whose own finish function is also visible.
    allocate_pinned_finish = allocate_finish

    def drain(self, cancellable=None, *, timeout=None):
        """Waits until nothing is outstanding: for at most timeout seconds, if it is not None."""
        return self.drain_timeout(microseconds(timeout), cancellable)

    def drain_timeout(self, timeout_us, cancellable=None):
        """Like drain(), but waits for at most timeout_us microseconds, or without a limit if negative."""
        return self._drain(_Pool.drain_timeout, _time(timeout_us), cancellable=cancellable)

    def _drain(self, drain, *arguments, cancellable):
        check_cancellable(cancellable)
        return unless(TIMED_OUT, _Pool.drain_timeout, self, 0, cancellable) or wait(
            self, drain, self, *arguments, cancellable=cancellable
        )

    def drain_async(self, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None, callback=None, *user_data):
        """Like drain(), but calls back from the main loop, or is awaited."""
        arguments = (priority_of(io_priority),)
        check_cancellable(cancellable)
        if callback is None:
            return Awaitable(self._await(lambda: None, "drain", arguments, cancellable))
        return call_back(
            *self._operation("drain"),
            (self, *arguments, cancellable),
            callback,
            user_data,
            in_context(self) if self.get_active_allocations() else None,
        )

    def drain_finish(self, result):
        """Fetches the result of drain_async(), in the callback."""
        return super().drain_finish(claim(result, "drain", self))

    def set_max_cached_memory(self, max_cached_memory):
        """Sets the maximum size of the cached blocks, in bytes; -1 lets the pool choose."""
        super().set_max_cached_memory(checked("max_cached_memory", max_cached_memory))

    def trim(self, target):
        """Frees cached blocks until at most target bytes remain; returns the number of bytes."""
        return super().trim(integer(target, "target"))


add_attributes(Pool, _Pool)
Pool = override(Pool)
__all__.append("Pool")


_Allocation = BufPool.PoolAllocation


class PoolAllocation(BufPool.PoolAllocation):
    """A sequence of buffers: writable memoryviews, without a copy."""

    def __init__(self, *_args, **_kwargs):
        raise TypeError("allocations come from a pool: use BufPool.Pool.allocate()")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.release()

    def __len__(self):
        return self.get_length()

    def __bool__(self):
        return not self.is_released()

    def _memory(self):
        """All bytes, as a flat memoryview that keeps the data alive, but not the pool."""
        view = self.get_bytes()
        address = self.get_first() if view is not None else None
        if not address:
            raise _released()

        array = (ctypes.c_ubyte * view.get_size()).from_address(address)
        array.view = view
        return memoryview(array).cast("B")

    def view(self):
        """All buffers as one writable memoryview of bytes. It stays valid after the allocation is freed."""
        return self._memory()

    def __buffer__(self, _flags):
        return self._memory()

    def __array__(self, dtype=None, copy=None):
        """For numpy, which would otherwise treat the buffers as a sequence, and copy them."""
        import numpy  # pylint: disable=import-outside-toplevel

        view = numpy.asarray(self._memory())
        if copy is False and dtype not in (None, view.dtype):
            raise ValueError(f"a view has the dtype uint8: for {dtype} a copy is needed")
        return view.astype(dtype or view.dtype, copy=bool(copy))

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
        """Returns whether there is a buffer to return: there is none after the release."""
        length = len(self)
        try:
            index = whole_number(index)
        except TypeError:
            raise TypeError(f"index must be an integer, not {index!r}") from None
        if length and not 0 <= index < length:
            raise IndexError(f"buffer index {index} is out of range 0 to {length - 1}")
        return length > 0

    def get_data(self):
        """All bytes, as a copy. A view holds them during the copy, because another thread may release them."""
        return bytes(self)

    def get_buffer(self, index):
        """The address of a buffer."""
        return super().get_buffer(index) if self._reaches(index) else None

    def get_buffer_bytes(self, index):
        """A buffer as a GLib.Bytes, without a copy."""
        return super().get_buffer_bytes(index) if self._reaches(index) else None

    def fill(self, offset, data):
        """Copies data into the allocation: the bytes of any bytes-like object, including arrays."""
        return super().fill(integer(offset, "offset"), bytes_of(data))

    def extract(self, offset, size):
        """A part of the allocation, as a copy."""
        return super().extract(integer(offset, "offset"), integer(size, "size"))

    def fill_from_stream(self, stream, offset, size, cancellable=None):
        """Reads into the allocation; returns the number of bytes."""
        return super().fill_from_stream(stream, *part(offset, size), cancellable)[1]

    def fill_from_stream_async(
        self,
        stream,
        offset,
        size,
        io_priority=GLib.PRIORITY_DEFAULT,
        cancellable=None,
        callback=None,
        *user_data,
    ):
        """Like fill_from_stream(), but calls back from the main loop, or is awaited."""
        arguments = self, stream, *part(offset, size), priority_of(io_priority)
        return self._transfer("fill_from_stream", arguments, cancellable, callback, user_data)

    def _transfer(self, name, arguments, cancellable, callback, user_data):
        start, finish = getattr(_Allocation, name + "_async"), getattr(_Allocation, name + "_finish")
        kind = Gio.InputStream if name == "fill_from_stream" else Gio.OutputStream
        if not isinstance(arguments[1], kind):
            raise TypeError(f"stream must be a Gio.{kind.__name__}, not {arguments[1]!r}")
        check_cancellable(cancellable)
        if callback is None:
            n_bytes = lambda _, result: finish(self, result)[1]  # noqa: E731
            return Awaitable(operate(start, n_bytes, *arguments, cancellable=cancellable, to_the_end=True))
        arguments = *arguments, cancellable
        return call_back(start, finish, (name, self), arguments, callback, user_data)

    def fill_from_stream_finish(self, result):
        """Fetches the result of fill_from_stream_async(), in the callback: how many bytes were read."""
        return super().fill_from_stream_finish(claim(result, "fill_from_stream", self))[1]

    def write_to_stream(self, stream, offset, size, cancellable=None):
        """Writes a part of the allocation; returns the number of bytes."""
        return super().write_to_stream(stream, *part(offset, size), cancellable)[1]

    def write_to_stream_async(
        self,
        stream,
        offset,
        size,
        io_priority=GLib.PRIORITY_DEFAULT,
        cancellable=None,
        callback=None,
        *user_data,
    ):
        """Like write_to_stream(), but calls back from the main loop, or is awaited."""
        arguments = self, stream, *part(offset, size), priority_of(io_priority)
        return self._transfer("write_to_stream", arguments, cancellable, callback, user_data)

    def shrink(self, n_buffers):
        """Keeps n_buffers buffers, and frees the rest."""
        return super().shrink(integer(n_buffers, "n_buffers"))

    def write_to_stream_finish(self, result):
        """Fetches the result of write_to_stream_async(), in the callback: how many bytes were written."""
        return super().write_to_stream_finish(claim(result, "write_to_stream", self))[1]

    def __repr__(self):
        if self.is_released():
            return "<BufPool.PoolAllocation, released>"
        sizes = _count(len(self), "buffer"), _count(self.get_buffer_size(), "byte")
        return "<BufPool.PoolAllocation of " + " of ".join(sizes) + ">"


PoolAllocation = override(PoolAllocation)
__all__.append("PoolAllocation")
