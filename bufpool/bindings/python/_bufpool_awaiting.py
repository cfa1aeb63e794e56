# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Asynchronous methods without a callback return an awaitable, which works in every event loop of asyncio,
GLib's own and the standard one. The standard one does not run GLib's sources, so the operation runs in the
service thread, which passes the result to the loop. Cancelling withdraws the request immediately; if it was
granted in the meantime, its memory is freed."""

from collections.abc import Coroutine

from ._bufpool_collecting import Waiting
from ._bufpool_waiting import Interruption, discard, service


class Awaitable(Coroutine):
    """A coroutine, so that it can become a task, and also a context manager:
    async with pool.allocate_async(4) as allocation."""

    def __init__(self, coroutine):
        self._coroutine = coroutine
        self._value = None

    def __await__(self):
        return self._coroutine.__await__()

    def send(self, value):
        return self._coroutine.send(value)

    def throw(self, *exception):
        return self._coroutine.throw(*exception)

    def close(self):
        return self._coroutine.close()

    async def __aenter__(self):
        self._value = await self._coroutine
        return self._value

    async def __aexit__(self, *_):
        discard(self._value)


def _running_loop():
    # Programs without asyncio do not wait until it is imported.
    import asyncio  # pylint: disable=import-outside-toplevel

    return asyncio.get_running_loop()


def _deliver(future, value, error):
    """In the loop."""
    if future.done():
        discard(value)
    elif error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


def _pass_on(loop, future, value, error):
    """In the service thread."""
    try:
        loop.call_soon_threadsafe(_deliver, future, value, error)
    except RuntimeError:  # the loop was closed
        discard(value)


def _begin(start, finish, arguments, loop, future):
    """In the service thread."""

    def on_done(source, result, *_):
        value = problem = None
        try:
            value = finish(source, result)
        except Exception as error:  # pylint: disable=broad-except
            problem = error
        _pass_on(loop, future, value, problem)

    try:
        start(*arguments, on_done)
    except Exception as error:  # pylint: disable=broad-except
        _pass_on(loop, future, None, error)


async def operate(start, finish, *arguments, cancellable, to_the_end=False):
    """Starts an operation with start(*arguments, cancellable, callback), and waits for the return value of
    finish(source, result). With to_the_end, it also waits until a cancelled operation has ended, because a
    stream cannot be used until then."""
    # Only when it is needed: programs without asyncio do not import it.
    import asyncio  # pylint: disable=import-outside-toplevel

    loop = asyncio.get_running_loop()
    future = loop.create_future()
    with Interruption(cancellable) as interruption:
        arguments = *arguments, interruption
        service.call(lambda: _begin(start, finish, arguments, loop, future))
        try:
            return await (asyncio.shield(future) if to_the_end else future)
        except BaseException as error:
            interruption.cancel()
            if to_the_end and isinstance(error, asyncio.CancelledError):
                await asyncio.wait([future])
            if future.done() and not future.cancelled() and future.exception() is None:
                discard(future.result())
            raise


async def request(source, attempt, start, finish, *arguments, cancellable, to_the_end=False):
    """The same for a request on a pool or budget: tries first, and then collects garbage while it waits. The
    return value of attempt() is the result, unless it is None."""
    value = None
    if cancellable is None and source.get_waiting() == 0:
        value = attempt()
    if value is not None:
        return value

    loop = _running_loop()
    with Waiting(source, loop, loop.call_later):
        return await operate(start, finish, *arguments, cancellable=cancellable, to_the_end=to_the_end)
