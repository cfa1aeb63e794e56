# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks of arguments. Each error names the parameter: PyGObject drops fractions, and its errors do not name
the parameter."""

from math import isinf
from operator import index

from gi.repository import Gio, GLib

MAX_SIZE = 2**64 - 1
MAX_TIME = 2**63 - 1


def integer(number, name, least=0, greatest=MAX_SIZE):
    """An integer in this range."""
    try:
        result = index(number)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {number!r}") from None
    if least == 0 > result:
        raise OverflowError(f"{name} must be a non-negative integer, not {result}")
    if not least <= result <= greatest:
        raise OverflowError(f"{name} must be an integer from {least} to {greatest}, not {result}")
    return result


def microseconds(seconds):
    """Converts a timeout in seconds to that of C. None means no limit."""
    if seconds is None:
        return -1
    if isinstance(seconds, (str, bytes)) or not float(seconds) >= 0:
        raise ValueError(f"timeout must be a non-negative number of seconds, or None, not {seconds!r}")
    return -1 if isinf(seconds) else min(round(seconds * 1e6), MAX_TIME)


def priority(number):
    return integer(number, "io_priority", -(2**31), 2**31 - 1)


def part(offset, size):
    return integer(offset, "offset"), integer(size, "size")


def bytes_of(data):
    """The data to copy, as bytes. PyGObject treats an array of numbers as an array of bytes."""
    if isinstance(data, GLib.Bytes):
        return data.get_data()
    if isinstance(data, (bytes, list, tuple)) or hasattr(data, "__bytes__"):
        return bytes(data)
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(f"data must be a bytes-like object or a list of bytes, not {data!r}") from None


def check_cancellable(cancellable):
    """PyGObject also refuses it, but since 3.50 it calls a GLib function with NULL first."""
    if cancellable is not None and not isinstance(cancellable, Gio.Cancellable):
        raise TypeError(f"cancellable must be a Gio.Cancellable, not {cancellable!r}")
