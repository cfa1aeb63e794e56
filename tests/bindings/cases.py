# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Common parts of the tests in Python."""

import gc
import threading
import time
import traceback

import gi

gi.require_version("BufPool", "1.0")
from gi.repository import BufPool, GLib  # noqa: E402

_TESTS = []


def test(function):
    _TESTS.append(function)
    return function


def raises(code, function, *args, domain="buf-pool-error-quark", **kwargs):
    try:
        function(*args, **kwargs)
    except GLib.Error as error:
        assert error.domain == domain and error.code == int(code) and error.message, (error, code)
        return error
    raise AssertionError(f"{function} raised nothing")


def refuses(exceptions, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except exceptions as error:
        return str(error)
    raise AssertionError(f"{function} took {args} {kwargs}")


def new_pool(n_buffers=1):
    return BufPool.Pool(buffer_size=16, max_memory=16 * n_buffers)


def leak(allocation):
    """Turns it into garbage that only the collector finds."""
    cycle = [allocation]
    cycle.append(cycle)


class Collections:
    """How many times all garbage has been collected since the block began."""

    def __enter__(self):
        self.n = 0
        gc.callbacks.append(self.count)
        return self

    def count(self, phase, info):
        self.n += phase == "stop" and info["generation"] == 2

    def __exit__(self, *_):
        gc.callbacks.remove(self.count)


def until_waiting(pool, count=1):
    while pool.props.waiting < count:
        time.sleep(0)


def when_waiting(pool, function, *args):
    """Calls the function in a thread as soon as a request waits. Returns the thread."""
    thread = threading.Thread(target=lambda: (until_waiting(pool), function(*args)))
    thread.start()
    return thread


def run():
    """Runs all tests; returns the exit status."""
    failed = 0
    print(f"1..{len(_TESTS)}")
    for number, function in enumerate(_TESTS, 1):
        name = function.__name__.replace("_", " ")
        try:
            function()
            print("ok", number, name, flush=True)
        except BaseException:  # pylint: disable=broad-except
            failed += 1
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print("not ok", number, name, flush=True)
    return failed != 0
