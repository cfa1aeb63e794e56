# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What makes BufPool natural in Python: construction that checks, waiting that Ctrl-C can interrupt, and
allocations that are sequences of writable buffers."""

import ctypes
import gc
import threading
from operator import index as whole_number

from gi.repository import Gio, GLib, GObject

from ..module import get_introspection_module
from ..overrides import override

BufPool = get_introspection_module("BufPool")

__all__ = []


def _released():
    return GLib.Error.new_literal(
        GLib.quark_from_string("buf-pool-error-quark"),
        "The allocation was released",
        int(BufPool.PoolError.RELEASED),
    )


def _wait_interruptibly(allocate, n_buffers, cancellable):
    """Calls the C function in another thread, since a signal does not reach Python while it waits in C.
    One wait, so the request keeps its place in the queue. An interruption cancels it."""
    interruption = Gio.Cancellable()
    result = []

    def run():
        try:
            result.append(allocate(n_buffers, interruption))
        except GLib.Error as error:
            result.append(error)

    handler = 0
    if cancellable is not None:
        # Not Gio.Cancellable.connect(), whose counterpart waits for handlers that are running.
        handler = GObject.Object.connect(cancellable, "cancelled", lambda _: interruption.cancel())
        if cancellable.is_cancelled():
            interruption.cancel()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        interruption.cancel()
        thread.join()
        result.clear()
        raise
    finally:
        if handler:
            GObject.Object.disconnect(cancellable, handler)

    if isinstance(result[0], GLib.Error):
        raise result[0]
    return result[0]


class Pool(BufPool.Pool):
    """A buffer pool with a memory budget. A configuration that makes no sense raises GLib.Error."""

    def __init__(self, **properties):
        for name in ("buffer_size", "max_memory", "alignment"):
            if name in properties:
                properties[name] = whole_number(properties[name])
        super().__init__(**properties)
        self.init(None)

    def allocate(self, n_buffers, cancellable=None):
        """Allocates n_buffers buffers, and waits for the budget if need be."""
        n_buffers = whole_number(n_buffers)
        if cancellable is None or not cancellable.is_cancelled():
            for collect in (False, True):
                # What is garbage, but in a cycle, may hold the budget.
                if collect:
                    gc.collect()
                try:
                    return self.try_allocate(n_buffers)
                except GLib.Error as error:
                    if not error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.WOULD_BLOCK):
                        raise

        allocate = super().allocate
        if threading.current_thread() is not threading.main_thread():
            return allocate(n_buffers, cancellable)
        return _wait_interruptibly(allocate, n_buffers, cancellable)

    def allocate_timeout(self, n_buffers, timeout, cancellable=None):
        """Like allocate(), but waits for so many microseconds at the most."""
        return super().allocate_timeout(whole_number(n_buffers), whole_number(timeout), cancellable)

    def try_allocate(self, n_buffers):
        """Like allocate(), but fails with Gio.IOErrorEnum.WOULD_BLOCK instead of waiting."""
        return super().try_allocate(whole_number(n_buffers))

    def allocate_async(self, n_buffers, io_priority, cancellable, callback, *user_data):
        """Like allocate(), but calls back from the main loop."""
        super().allocate_async(whole_number(n_buffers), io_priority, cancellable, callback, *user_data)

    def drain(self, cancellable=None):
        """Waits until nothing is outstanding."""
        return super().drain(cancellable)


Pool = override(Pool)
__all__.append("Pool")


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
        if address is None:
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
            raise IndexError(f"buffer {i} of {length}")
        return memory[i % length * size : (i % length + 1) * size]

    def __iter__(self):
        for i in range(len(self)):
            yield self[i]

    def __bytes__(self):
        return bytes(self._memory())

    def __repr__(self):
        if self.is_released():
            return "<BufPool.PoolAllocation, released>"
        return f"<BufPool.PoolAllocation of {len(self)} buffers of {self.get_buffer_size()} bytes>"


PoolAllocation = override(PoolAllocation)
__all__.append("PoolAllocation")
