# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Budgets and permits, and the common parts of pools and budgets."""

from gi.repository import Gio, GLib, GObject

from ..module import get_introspection_module
from ..overrides import override
from ._bufpool_arguments import MAX_TIME, check_cancellable, integer, microseconds, priority
from ._bufpool_awaiting import Awaitable, request
from ._bufpool_callbacks import call_back, claim, in_context
from ._bufpool_waiting import unless, wait

BufPool = get_introspection_module("BufPool")
# override() takes only classes of this module.
OVERRIDES = "gi.overrides.BufPool"
TIMED_OUT = Gio.IOErrorEnum.TIMED_OUT

_LEAST = {
    "buffer_size": 0,
    "max_memory": 0,
    "alignment": 0,
    "reserved_memory": 0,
    "max_cached_memory": -1,
    "max_waiting": -1,
    "n_buffers": 0,
    "read_ahead": 0,
}
_GREATEST = {"max_cached_memory": MAX_TIME, "max_waiting": 2**31 - 1, "alignment": 2**32 - 1, "read_ahead": 2**32 - 1}
_READ_ONLY = {
    specification.name.replace("-", "_")
    for kind in (BufPool.Pool, BufPool.Budget, BufPool.Reader)
    for specification in GObject.list_properties(kind)
    if not specification.flags & GObject.ParamFlags.WRITABLE
}


def checked(name, value):
    """The value of a numeric property."""
    if name in _LEAST:
        return integer(value, name, _LEAST[name], _GREATEST.get(name, 2**64 - 1))
    return value


def check_properties(properties):
    """Checks the arguments of a constructor. For GObject, setting a read-only property is a programming
    error."""
    for name in properties:
        if name.replace("-", "_") in _READ_ONLY:
            raise TypeError(f"{name} cannot be set")
    return {name: checked(name.replace("-", "_"), value) for name, value in properties.items()}


def _attribute(base, specification):
    name = specification.name.replace("-", "_")
    getter = getattr(base, "get_" + name, None) or getattr(base, "is_" + name)
    settable = specification.flags & GObject.ParamFlags.WRITABLE
    fixed = specification.flags & GObject.ParamFlags.CONSTRUCT_ONLY
    setter = (lambda self, value: getattr(self, "set_" + name)(value)) if settable and not fixed else None
    return name, property(lambda self: getter(self), setter, doc=specification.blurb)


def add_attributes(cls, base):
    """Properties as attributes."""
    for specification in GObject.list_properties(base):
        name, attribute = _attribute(base, specification)
        setattr(cls, name, attribute)


def request_full(source, function, counts, timeout_us, io_priority, cancellable):
    """Calls a C function with a timeout and a priority. It tries first, because waiting is expensive."""
    check_cancellable(cancellable)
    arguments = source, *counts
    if timeout_us == 0:
        return function(*arguments, 0, io_priority, cancellable)
    result = unless(TIMED_OUT, function, *arguments, 0, io_priority, cancellable)
    if result is not None:
        return result
    return wait(source, function, *arguments, timeout_us, io_priority, cancellable=cancellable)


class Limits:
    """The limits of a pool or a budget."""

    def set_max_memory(self, max_memory):
        """Sets the limit, in bytes."""
        super().set_max_memory(checked("max_memory", max_memory))

    def set_reserved_memory(self, reserved_memory):
        """Sets how many bytes only urgent requests can use."""
        super().set_reserved_memory(checked("reserved_memory", reserved_memory))

    def set_max_waiting(self, max_waiting):
        """Sets the maximum number of waiting requests; -1 means no limit."""
        super().set_max_waiting(checked("max_waiting", max_waiting))


_Budget = BufPool.Budget


def check_budget(budget, name):
    if not isinstance(budget, _Budget):
        raise TypeError(f"{name} must be a BufPool.Budget, not {budget!r}")


class Budget(Limits, BufPool.Budget):
    """A memory limit that several pools share, and a semaphore whose unit is a byte."""

    __module__ = OVERRIDES

    def __init__(self, **properties):
        super().__init__(**check_properties(properties))

    @classmethod
    def new(cls, max_memory):
        """The same as the constructor."""
        return cls(max_memory=max_memory)

    @classmethod
    def new_child(cls, parent, max_memory):
        """Creates a budget below another one."""
        check_budget(parent, "parent")
        return cls(parent=parent, max_memory=max_memory)

    def acquire(self, n_bytes, cancellable=None, *, timeout=None, priority=GLib.PRIORITY_DEFAULT):
        """Acquires n_bytes bytes, and waits for them if necessary: for at most timeout seconds, or without a
        limit if it is None."""
        return self.acquire_full(n_bytes, microseconds(timeout), priority, cancellable)

    def acquire_full(self, n_bytes, timeout_us=-1, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None):
        """Like acquire(), with a timeout in microseconds, negative for no limit, and a priority."""
        counts = (integer(n_bytes, "n_bytes"),)
        limit = integer(timeout_us, "timeout_us", -MAX_TIME, MAX_TIME)
        return request_full(self, _Budget.acquire_full, counts, limit, priority(io_priority), cancellable)

    def try_acquire(self, n_bytes):
        """Like acquire(), but fails with Gio.IOErrorEnum.WOULD_BLOCK instead of waiting."""
        return super().try_acquire(integer(n_bytes, "n_bytes"))

    def acquire_async(
        self, n_bytes, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None, callback=None, *user_data
    ):
        """Like acquire(), but calls back from the main loop, or is awaited."""
        arguments = integer(n_bytes, "n_bytes"), priority(io_priority)
        start, finish = _Budget.acquire_async, _Budget.acquire_finish
        check_cancellable(cancellable)
        if callback is None:
            attempt = lambda: unless(Gio.IOErrorEnum.WOULD_BLOCK, _Budget.try_acquire, self, arguments[0])  # noqa: E731
            return Awaitable(request(self, attempt, start, finish, self, *arguments, cancellable=cancellable))
        return call_back(
            start, finish, ("acquire", self), (self, *arguments, cancellable), callback, user_data, in_context(self)
        )

    def acquire_finish(self, result):
        """Fetches the permit, in the callback."""
        return super().acquire_finish(claim(result, "acquire", self))


add_attributes(Budget, _Budget)
Budget = override(Budget)


class Permit(BufPool.Permit):
    """Bytes acquired from a budget. They return to it when the permit is released or dropped."""

    __module__ = OVERRIDES

    def __init__(self, *_args, **_kwargs):
        raise TypeError("permits come from a budget: use BufPool.Budget.acquire()")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.release()

    def __bool__(self):
        return not self.is_released()

    def shrink(self, n_bytes):
        """Keeps n_bytes bytes, and returns the rest to the budget."""
        return super().shrink(integer(n_bytes, "n_bytes"))

    def __repr__(self):
        if self.is_released():
            return "<BufPool.Permit, released>"
        return f"<BufPool.Permit for {self.get_size()} byte{'' if self.get_size() == 1 else 's'}>"


Permit = override(Permit)
