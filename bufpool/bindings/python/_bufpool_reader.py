# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Readers, whose blocks are read-only memoryviews."""

import ctypes

from gi.repository import Gio, GLib

from ..module import get_introspection_module
from ..overrides import override
from ._bufpool_arguments import check_cancellable, integer, priority
from ._bufpool_awaiting import Awaitable, operate, request
from ._bufpool_budget import OVERRIDES, add_attributes, check_properties, checked
from ._bufpool_callbacks import call_back, claim, in_context
from ._bufpool_waiting import wait

_Reader = get_introspection_module("BufPool").Reader


def _check_flags(flags):
    """PyGObject 3.58 treats a sequence as a list of names, and does not check that it contains names."""
    integer(flags, "flags", 0, 2**32 - 1)


class Reader(_Reader):
    """Reads a stream in blocks that come from a pool. Iteration, with "for" or "async for", yields read-only
    memoryviews, without a copy. A block is freed when its last view is gone."""

    __module__ = OVERRIDES

    def __init__(self, **properties):
        super().__init__(**check_properties(properties))

    @classmethod
    def new(cls, stream, pool, n_buffers):
        """The same as the constructor."""
        return cls(stream=stream, pool=pool, n_buffers=n_buffers)

    def set_read_ahead(self, read_ahead):
        """Sets the maximum number of blocks to read ahead."""
        super().set_read_ahead(checked("read_ahead", read_ahead))

    def _lacks_memory(self):
        pool = self.get_pool()
        return pool is not None and self.get_n_buffers() * pool.get_buffer_size() > pool.get_available_memory()

    def _is_idle(self):
        stream = self.get_stream()
        return isinstance(stream, Gio.PollableInputStream) and stream.can_poll() and not stream.is_readable()

    def next_block(self, cancellable=None):
        """The next block as a GLib.Bytes, or None at the end."""
        check_cancellable(cancellable)
        if self._lacks_memory():
            return wait(self.get_pool(), _Reader.next_block, self, cancellable=cancellable, to_the_end=True)
        if self._is_idle():
            return wait(None, _Reader.next_block, self, cancellable=cancellable, to_the_end=True)
        return super().next_block(cancellable)

    def next_block_async(
        self, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None, callback=None, *user_data
    ):
        """Like next_block(), but calls back from the main loop, or is awaited."""
        start, finish = _Reader.next_block_async, _Reader.next_block_finish
        arguments = self, priority(io_priority)
        check_cancellable(cancellable)
        lacks_memory = self._lacks_memory()
        if callback is not None:
            waiting = in_context(self.get_pool()) if lacks_memory else None
            arguments = *arguments, cancellable
            return call_back(start, finish, ("next_block", self), arguments, callback, user_data, waiting)
        options = {"cancellable": cancellable, "to_the_end": True}
        if lacks_memory:
            return Awaitable(request(self.get_pool(), lambda: None, start, finish, *arguments, **options))
        return Awaitable(operate(start, finish, *arguments, **options))

    def next_block_finish(self, result):
        """Fetches the block, in the callback."""
        return super().next_block_finish(claim(result, "next_block", self))

    def splice(self, target, flags, cancellable=None):
        """Writes all blocks to another stream."""
        _check_flags(flags)
        check_cancellable(cancellable)
        return wait(self.get_pool(), _Reader.splice, self, target, flags, cancellable=cancellable, to_the_end=True)

    def splice_async(
        self, target, flags, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None, callback=None, *user_data
    ):
        """Like splice(), but calls back from the main loop, or is awaited."""
        start, finish = _Reader.splice_async, _Reader.splice_finish
        _check_flags(flags)
        arguments = self, target, flags, priority(io_priority)
        check_cancellable(cancellable)
        if not isinstance(target, Gio.OutputStream):
            raise TypeError(f"target must be a Gio.OutputStream, not {target!r}")
        if callback is None:
            return Awaitable(operate(start, finish, *arguments, cancellable=cancellable, to_the_end=True))
        return call_back(start, finish, ("splice", self), (*arguments, cancellable), callback, user_data)

    def splice_finish(self, result):
        """Fetches the result of splice_async(), in the callback."""
        return super().splice_finish(claim(result, "splice", self))

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
        block = await self.next_block_async()
        if block is None:
            raise StopAsyncIteration
        return self._view(block)


add_attributes(Reader, _Reader)
Reader = override(Reader)
