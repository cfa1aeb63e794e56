# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What makes BufPool natural in Python: construction that checks, waiting that Ctrl-C interrupts, calls
that can be awaited, properties as attributes, and allocations that are sequences of writable buffers."""

import ctypes
from operator import index as whole_number

from gi.repository import Gio, GLib, GObject

from ..module import get_introspection_module
from ..overrides import override
from ._bufpool_arguments import MAX_SIZE, MAX_TIME, bytes_of, check_cancellable, integer, microseconds, part, priority
from ._bufpool_awaiting import Awaitable, operate, request
from ._bufpool_callbacks import call_back, claim, in_context
from ._bufpool_waiting import unless, wait

BufPool = get_introspection_module("BufPool")

# PyGObject makes an enumeration when it is first looked at: then adds the values, so that another thread
# could find it without. Importing is done by one thread.
_WOULD_BLOCK = Gio.IOErrorEnum.WOULD_BLOCK
_TIMED_OUT = Gio.IOErrorEnum.TIMED_OUT
_RELEASED = int(BufPool.PoolError.RELEASED)

# Likewise, and PyGObject 3.58 crashes when a signal interrupts it while it makes flags of a number.
_READ_ONLY = {
    specification.name.replace("-", "_")
    for specification in GObject.list_properties(BufPool.Pool)
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


def _attribute(base, specification):
    """A property as an attribute."""
    name = specification.name.replace("-", "_")
    getter = getattr(base, "get_" + name, None) or getattr(base, "is_" + name)
    settable = specification.flags & GObject.ParamFlags.WRITABLE
    fixed = specification.flags & GObject.ParamFlags.CONSTRUCT_ONLY
    setter = (lambda self, value: getattr(self, "set_" + name)(value)) if settable and not fixed else None
    return name, property(lambda self: getter(self), setter, doc=specification.blurb)


def _add_attributes(cls, base):
    for specification in GObject.list_properties(base):
        name, attribute = _attribute(base, specification)
        setattr(cls, name, attribute)


_Pool = BufPool.Pool
_try_allocate = _Pool.try_allocate


class Pool(BufPool.Pool):
    """A buffer pool with a memory budget. A configuration that makes no sense raises GLib.Error."""

    def __init__(self, **properties):
        for name in properties:
            if name.replace("-", "_") in _READ_ONLY:
                raise TypeError(f"{name} cannot be set")
            if name in ("buffer_size", "max_memory", "alignment"):
                properties[name] = integer(properties[name], name)
            elif name == "max_cached_memory":
                properties[name] = integer(properties[name], name, -1, MAX_TIME)
        super().__init__(**properties)
        self.init(None)

    @classmethod
    def new(cls, buffer_size, max_memory):
        """The same as the constructor."""
        return cls(buffer_size=buffer_size, max_memory=max_memory)

    def allocate(self, n_buffers, cancellable=None, *, timeout=None):
        """Allocates n_buffers buffers, and waits for the budget if need be: for at most timeout seconds,
        or without a limit if it is None."""
        if type(n_buffers) is not int or not 0 <= n_buffers <= MAX_SIZE:
            n_buffers = integer(n_buffers, "n_buffers")
        if cancellable is None:
            allocation = unless(_WOULD_BLOCK, _try_allocate, self, n_buffers)
            if allocation is not None:
                return allocation
        limit = microseconds(timeout)
        if limit >= 0:
            return self._allocate(_Pool.allocate_timeout, n_buffers, limit, cancellable=cancellable)
        return self._allocate(_Pool.allocate, n_buffers, cancellable=cancellable)

    def allocate_timeout(self, n_buffers, timeout, cancellable=None):
        """Like allocate(), but waits for so many microseconds at the most."""
        arguments = integer(n_buffers, "n_buffers"), integer(timeout, "timeout")
        return self._allocate(_Pool.allocate_timeout, *arguments, cancellable=cancellable)

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
        self, n_buffers, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None, callback=None, *user_data
    ):
        """Like allocate(), but calls back from the main loop. Without a callback, the result is to be
        awaited: allocation = await pool.allocate_async(4), or async with pool.allocate_async(4)."""
        arguments = integer(n_buffers, "n_buffers"), priority(io_priority)
        check_cancellable(cancellable)
        if callback is None:
            attempt = lambda: unless(_WOULD_BLOCK, _try_allocate, self, arguments[0])  # noqa: E731
            return Awaitable(self._await(attempt, "allocate", arguments, cancellable))
        waits = arguments[0] * self.get_buffer_size() > self.get_available_memory()
        return call_back(
            *self._operation("allocate"),
            (self, *arguments, cancellable),
            callback,
            user_data,
            in_context(self) if waits or self.get_waiting() else None,
        )

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

    # allocate_async() is the pinned request of C, whose own finish function is visible, too.
    allocate_pinned_finish = allocate_finish

    def drain(self, cancellable=None, *, timeout=None):
        """Waits until nothing is outstanding: for at most timeout seconds, if it is not None."""
        limit = microseconds(timeout)
        if limit >= 0:
            return self._drain(_Pool.drain_timeout, limit, cancellable=cancellable)
        return self._drain(_Pool.drain, cancellable=cancellable)

    def drain_timeout(self, timeout, cancellable=None):
        """Like drain(), but waits for so many microseconds at the most."""
        return self._drain(_Pool.drain_timeout, integer(timeout, "timeout"), cancellable=cancellable)

    def _drain(self, drain, *arguments, cancellable):
        check_cancellable(cancellable)
        return unless(_TIMED_OUT, _Pool.drain_timeout, self, 0, cancellable) or wait(
            self, drain, self, *arguments, cancellable=cancellable
        )

    def drain_async(self, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None, callback=None, *user_data):
        """Like drain(), but calls back from the main loop, or is to be awaited."""
        arguments = (priority(io_priority),)
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

    def set_max_memory(self, max_memory):
        """Changes the budget, in bytes."""
        super().set_max_memory(integer(max_memory, "max_memory"))

    def set_max_cached_memory(self, max_cached_memory):
        """Changes how many bytes of free blocks the pool keeps: -1 lets it choose."""
        super().set_max_cached_memory(integer(max_cached_memory, "max_cached_memory", -1, MAX_TIME))

    def trim(self, target):
        """Frees cached blocks until at most target bytes remain; returns how many bytes that were."""
        return super().trim(integer(target, "target"))


_add_attributes(Pool, _Pool)
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

    def __array__(self, dtype=None, copy=None):
        """For numpy, which would otherwise take the buffers for a sequence, and copy them."""
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
        """Whether there is a buffer to be returned: there is none any more when it was released."""
        length = len(self)
        try:
            index = whole_number(index)
        except TypeError:
            raise TypeError(f"index must be an integer, not {index!r}") from None
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
        """Copies data into the allocation: the bytes of any bytes-like object, also of an array."""
        return super().fill(integer(offset, "offset"), bytes_of(data))

    def extract(self, offset, size):
        """A part of the allocation, as a copy."""
        return super().extract(integer(offset, "offset"), integer(size, "size"))

    def fill_from_stream(self, stream, offset, size, cancellable=None):
        """Reads into the allocation; returns how many bytes that were."""
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
        """Like fill_from_stream(), but calls back from the main loop, or is to be awaited."""
        arguments = self, stream, *part(offset, size), priority(io_priority)
        return self._transfer("fill_from_stream", arguments, cancellable, callback, user_data)

    def _transfer(self, name, arguments, cancellable, callback, user_data):
        start, finish = getattr(_Allocation, name + "_async"), getattr(_Allocation, name + "_finish")
        kind = Gio.InputStream if name == "fill_from_stream" else Gio.OutputStream
        if not isinstance(arguments[1], kind):
            raise TypeError(f"stream must be a Gio.{kind.__name__}, not {arguments[1]!r}")
        check_cancellable(cancellable)
        if callback is None:
            n_bytes = lambda _, result: finish(self, result)[1]  # noqa: E731
            return Awaitable(operate(start, n_bytes, *arguments, cancellable=cancellable))
        arguments = *arguments, cancellable
        return call_back(start, finish, (name, self), arguments, callback, user_data)

    def fill_from_stream_finish(self, result):
        """Fetches the result of fill_from_stream_async(), in the callback: how many bytes were read."""
        return super().fill_from_stream_finish(claim(result, "fill_from_stream", self))[1]

    def write_to_stream(self, stream, offset, size, cancellable=None):
        """Writes a part of the allocation; returns how many bytes that were."""
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
        """Like write_to_stream(), but calls back from the main loop, or is to be awaited."""
        arguments = self, stream, *part(offset, size), priority(io_priority)
        return self._transfer("write_to_stream", arguments, cancellable, callback, user_data)

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
