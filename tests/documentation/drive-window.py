#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs a program of the documentation that has a window with the buttons Start and Cancel and a progress bar, on a
separate display, and uses it. Usage: drive-window.py PROGRAM FOLDER

The program gets the name of a file in FOLDER."""

import hashlib
import os
import runpy
import subprocess
import sys

PROGRAM, FOLDER = sys.argv[1:3]
FILE = os.path.join(FOLDER, "file")
LONG = 1 << 36  # takes minutes, and no space, because the file is a hole
SHORT = 3_000_000
# The server has no graphics card, which GTK from 4.14 on would report.
os.environ.update(GSK_RENDERER="cairo", GTK_A11Y="none", GDK_DISABLE="gl,vulkan")


def start_display():
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-terminate", "-nolisten", "tcp"],
        pass_fds=[writer], stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as stream:
        os.environ["DISPLAY"] = ":" + stream.readline().strip()
    return server


def find(widget, kind):
    found = [widget] if isinstance(widget, kind) else []
    child = widget.get_first_child()
    while child:
        found += find(child, kind)
        child = child.get_next_sibling()
    return found


def use():
    """Clicks, checks, and yields conditions to wait for."""
    yield lambda: Gio.Application.get_default() is not None
    application = Gio.Application.get_default()
    yield lambda: application.get_active_window() is not None
    window = application.get_active_window()
    yield window.is_visible
    buttons = {button.get_label(): button for button in find(window.get_child(), Gtk.Button)}
    start, cancel = buttons["_Start"], buttons["_Cancel"]
    bar, = find(window, Gtk.ProgressBar)
    assert start.is_sensitive() and not cancel.is_sensitive()

    start.emit("clicked")
    assert cancel.is_sensitive() and not start.is_sensitive()
    yield lambda: bar.get_fraction() > 0
    first = bar.get_fraction()
    yield lambda: bar.get_fraction() > first
    cancel.emit("clicked")
    yield start.is_sensitive
    assert bar.get_fraction() < 1 and not cancel.is_sensitive(), bar.get_fraction()
    assert "cancel" in bar.get_text(), bar.get_text()

    os.truncate(FILE, SHORT)
    start.emit("clicked")
    yield start.is_sensitive
    assert bar.get_fraction() == 1, bar.get_fraction()
    assert bar.get_text() == hashlib.sha256(bytes(SHORT)).hexdigest(), bar.get_text()

    os.truncate(FILE, LONG)
    start.emit("clicked")
    yield lambda: 0 < bar.get_fraction() < 1
    window.close()


class User:
    """Does the next step when its condition is true, in the main loop of the program."""

    def __init__(self):
        self.steps = use()
        self.condition = lambda: True
        self.has_finished = False

    def go_on(self):
        try:
            while self.condition():
                self.condition = next(self.steps)
            return GLib.SOURCE_CONTINUE
        except StopIteration:
            self.has_finished = True
            return GLib.SOURCE_REMOVE
        except BaseException:  # pylint: disable=broad-except
            sys.excepthook(*sys.exc_info())
            server.terminate()
            os._exit(1)  # otherwise, PyGObject only prints it


with open(FILE, "wb") as stream:
    stream.truncate(LONG)
server = start_display()
try:
    import gi

    gi.require_version("Gtk", "4.0")
    from gi.repository import Gio, GLib, Gtk

    user = User()
    GLib.timeout_add(10, user.go_on)
    sys.argv = [PROGRAM, FILE]
    runpy.run_path(PROGRAM, run_name="__main__")
    assert user.has_finished, "the program ended too early"
finally:
    server.terminate()
    server.wait()
