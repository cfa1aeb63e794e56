# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Asynchronous calls with a callback, as in C."""

from gi.repository import GLib

from ._bufpool_collecting import Waiting
from ._bufpool_waiting import discard


def in_context(source):
    """For a request whose callback the main loop of this thread calls: collects garbage there."""
    context = GLib.MainContext.ref_thread_default()

    def later(seconds, function):
        timeout = GLib.timeout_source_new(int(seconds * 1000))
        timeout.set_callback(lambda *_: function())
        timeout.attach(context)

    return Waiting(source, context, later)


def call_back(start, finish, operation, arguments, callback, user_data, waiting=None):
    """Starts an asynchronous operation, whose callback can then claim the result. If the callback raises
    before it does, the result is freed, because the traceback would keep it alive."""
    if not callable(callback):
        raise TypeError(f"callback must be callable, not {callback!r}")

    def on_done(source, result, *_):
        if waiting is not None:
            waiting.__exit__()
        result.bufpool_operation = operation
        try:
            callback(source, result, *user_data)
        except BaseException:
            if result.bufpool_operation is not None:
                _drop(finish, operation, result)
            raise

    start(*arguments, on_done)
    # It is never called before this thread's main loop runs.
    if waiting is not None:
        waiting.__enter__()


def _drop(finish, operation, result):
    try:
        discard(finish(operation[1], claim(result, *operation)))
    except GLib.Error:
        pass


def claim(result, *operation):
    """A result can be fetched only once, and only by its own operation. For GLib, anything else is a
    programming error."""
    if getattr(result, "bufpool_operation", None) != operation:
        raise TypeError("the result belongs to another operation, or has already been fetched")
    result.bufpool_operation = None
    return result
