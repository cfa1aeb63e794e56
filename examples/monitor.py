#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Shows backpressure: hashes files through a buffer pool in the background, and draws the state of the pool.

Readers are faster than hashing threads, so the limit is reached, and from then on the readers wait for
memory. You can change the limit, the number of hashing threads and the size of a request while the job runs.
Another pool shares the budget: the memory that it takes is not available to the job."""

import collections
import gc
import json
import os
import sys

import gi

gi.require_version("BufPool", "1.0")
gi.require_version("Gdk", "4.0")
gi.require_version("Graphene", "1.0")
gi.require_version("Gtk", "4.0")
from gi.repository import BufPool, Gdk, Gio, GLib, Graphene, Gtk  # noqa: E402
from monitor_job import MAX_WORKERS, N_READERS, Job, OtherUser, Settings  # noqa: E402
from monitor_options import create_parser  # noqa: E402

KIB = 1024
MIB = 1024 * KIB
BUFFER_SIZE = 4 * KIB
SAMPLES = 300
INTERVAL = 50  # milliseconds between two samples
BLUE, ORANGE, GREEN, PURPLE = "#3584e4", "#ff7800", "#26a269", "#9141ac"  # visible on light and dark backgrounds


class Chart(Gtk.Widget):
    """A value over time, another one stacked on it, and the limit of both, on the background of the theme."""

    def __init__(self, title, color, describe, smallest_top, other=None):
        super().__init__(accessible_role=Gtk.AccessibleRole.IMG, hexpand=True, vexpand=True)
        self.set_size_request(320, 90)
        self._title = title
        self._color = color
        self._describe = describe
        self._smallest_top = smallest_top
        self._other = other
        self._samples = collections.deque(maxlen=SAMPLES)
        self.update_property([Gtk.AccessibleProperty.LABEL], [title])

    def add(self, value, limit=None, other=0):
        self._samples.append((value, limit, other))
        self.queue_draw()

    def describe(self):
        """In words, for screen readers."""
        value, limit, other = self._samples[-1]
        text = f"{self._title}: {self._describe(value)}"
        if self._other and other:
            text += f", {self._other}: {self._describe(other)}"
        return text + (f" of {self._describe(limit)}" if limit else "")

    def say(self):
        self.update_property([Gtk.AccessibleProperty.DESCRIPTION], [self.describe()])

    def _get_foreground(self, alpha):
        has_color = hasattr(self, "get_color")  # since GTK 4.10, where the other is deprecated
        color = self.get_color() if has_color else self.get_style_context().get_color()
        color.alpha *= alpha
        return color

    def _get_color(self, alpha=1.0, name=None):
        color = Gdk.RGBA()
        color.parse(name or self._color)
        color.alpha = alpha
        return color

    def do_snapshot(self, snapshot):
        width, height = self.get_width(), self.get_height()
        if not self._samples:
            return

        def fill(color, x, y, w, h):
            snapshot.append_color(color, Graphene.Rect().init(x, y, w, h))

        def write(text, right, alpha):
            layout = self.create_pango_layout(text)
            x = width - layout.get_pixel_size()[0] if right else 0
            snapshot.save()
            snapshot.translate(Graphene.Point().init(x, 0))
            snapshot.append_layout(layout, self._get_foreground(alpha))
            snapshot.restore()
            return layout.get_pixel_size()[1] + 4

        head = write(self.describe(), False, 1)
        top = max(self._smallest_top, *(max(v + other, limit or 0) * 1.1 for v, limit, other in self._samples))
        write(f"↑ {self._describe(top)}", True, 0.6)
        fill(self._get_foreground(0.07), 0, head, width, height - head)

        step = width / SAMPLES
        scale = (height - head) / top
        area = self._get_color(0.45)
        line = self._get_color()
        edge = self._get_foreground(0.8)
        beside = self._get_color(0.45, PURPLE)
        for i, (value, limit, other) in enumerate(self._samples):
            x = round(width - (len(self._samples) - i) * step)
            w = round(width - (len(self._samples) - i - 1) * step) - x
            y = round(height - value * scale)
            fill(area, x, y, w, height - y)
            fill(line, x, min(y, height - 2), w, 2)
            if other:
                above = round(height - (value + other) * scale)
                fill(beside, x, above, w, y - above)
            if limit:
                fill(edge, x, round(height - limit * scale) - 1, w, 2)


def describe_bytes(n):
    return f"{n / MIB:.1f} MiB" if n >= MIB else f"{n / KIB:.0f} KiB"


def describe_milliseconds(milliseconds):
    return f"{milliseconds:.2f} ms"


class Window(Gtk.ApplicationWindow):
    def __init__(self, application, paths, repeat, report):
        super().__init__(application=application, title="Buffer pool monitor", default_width=820, default_height=600)
        self._budget = BufPool.Budget(max_memory=8 * MIB, name="monitor")
        self._pool = BufPool.Pool(buffer_size=BUFFER_SIZE, budget=self._budget, name="job")
        self._other_pool = BufPool.Pool(buffer_size=BUFFER_SIZE, budget=self._budget, name="other")
        self._settings = Settings()
        self._other_user = OtherUser(self._other_pool, self._settings)
        self._other_user.start()
        self._settings.repeat = repeat
        self._paths = paths
        self._report = report
        self._job = None
        self._last = self._pool.get_stats()
        self._n_samples = 0
        self._running = False
        self._build()
        self.connect("close-request", self._on_close)
        GLib.timeout_add(INTERVAL, self._sample)
        if paths:
            self._start()

    def _build(self):
        self._start_button = Gtk.Button(label="_Start", use_underline=True)
        self._start_button.connect("clicked", lambda _: self._start())
        self._stop_button = Gtk.Button(label="Sto_p", use_underline=True)
        self._stop_button.connect("clicked", lambda _: self._job.stop())
        choose = Gtk.Button(label="_Choose a folder…", use_underline=True)
        choose.connect("clicked", self._on_choose)
        bar = Gtk.HeaderBar()
        for button in (self._start_button, self._stop_button, choose):
            bar.pack_start(button)
        self.set_titlebar(bar)

        grid = Gtk.Grid(column_spacing=12, row_spacing=2)
        self._add_slider(grid, 0, "_Budget", 1, 64, 8, lambda _, v: f"{v:.0f} MiB", self._set_budget)
        self._add_slider(grid, 1, "_Hashing threads", 1, MAX_WORKERS, 1, lambda _, v: f"{v:.0f}", self._set_workers)
        self._add_slider(
            grid, 2, "_Request", 1, 256, Settings.n_buffers,
            lambda _, v: describe_bytes(v * BUFFER_SIZE), self._set_request,
        )
        self._add_slider(grid, 3, "Other poo_l", 0, 64, 0, lambda _, v: f"{v:.0f} MiB", self._set_other)
        repeat = Gtk.CheckButton(label="Over and _over", use_underline=True, tooltip_text="Start again at the end")
        repeat.connect("toggled", lambda button: setattr(self._settings, "repeat", button.get_active()))
        repeat.set_active(self._settings.repeat)
        grid.attach(repeat, 1, 4, 1, 1)

        self._status = Gtk.Label(xalign=0, ellipsize=3, selectable=True)
        self._memory = Chart("Memory out", BLUE, describe_bytes, MIB, "other pool")
        self._waiting = Chart("Requests that wait", ORANGE, lambda n: f"{n:.0f}", N_READERS)
        self._wait_time = Chart("A wait takes", GREEN, describe_milliseconds, 1)
        self._charts = (self._memory, self._waiting, self._wait_time)
        box = Gtk.Box(
            orientation=Gtk.Orientation.VERTICAL, spacing=12, margin_top=12, margin_bottom=12, margin_start=12,
            margin_end=12,
        )
        for child in (grid, self._status) + self._charts:
            box.append(child)
        self.set_child(box)
        self._update_buttons()

    def _add_slider(self, grid, row, name, lower, upper, value, describe, on_changed):
        scale = Gtk.Scale.new_with_range(Gtk.Orientation.HORIZONTAL, lower, upper, 1)
        scale.set_value(value)
        scale.set_hexpand(True)
        scale.set_draw_value(True)
        scale.set_value_pos(Gtk.PositionType.RIGHT)
        scale.set_format_value_func(describe)
        scale.connect("value-changed", lambda s: on_changed(int(s.get_value())))
        label = Gtk.Label(label=name, use_underline=True, mnemonic_widget=scale, xalign=1)
        grid.attach(label, 0, row, 1, 1)
        grid.attach(scale, 1, row, 1, 1)

    def _set_budget(self, mebibytes):
        self._budget.props.max_memory = mebibytes * MIB

    def _set_workers(self, n):
        self._settings.n_workers = n
        if self._job:
            self._job.settings_changed()

    def _set_request(self, n):
        self._settings.n_buffers = n

    def _set_other(self, mebibytes):
        self._settings.other = mebibytes

    def _on_choose(self, _button):
        chooser = Gtk.FileChooserNative(
            title="Files to hash", transient_for=self, modal=True, action=Gtk.FileChooserAction.SELECT_FOLDER
        )
        chooser.connect("response", self._on_chosen)
        chooser.show()
        self._chooser = chooser  # keeps it alive

    def _on_chosen(self, chooser, response):
        if response == Gtk.ResponseType.ACCEPT:
            self._paths = find_files([chooser.get_file().get_path()])
            self._update_buttons()

    def _start(self):
        self._job = Job(self._pool, self._paths, self._settings, self._on_end)
        self._running = True
        self._update_buttons()

    def _on_end(self, _job):
        self._running = False
        self._update_buttons()

    def _update_buttons(self):
        self._start_button.set_sensitive(bool(self._paths) and not self._running)
        self._stop_button.set_sensitive(self._running)

    def _get_state(self):
        if self._job is None:
            return "ready"
        if self._running:
            return "stopping" if self._job.is_stopped() else "running"
        return "stopped" if self._job.is_stopped() else "done"

    def _sample(self):
        stats = self._pool.get_stats()
        n_over = stats.n_waits - stats.waiting - self._last.n_waits + self._last.waiting
        waited = stats.total_wait_time - self._last.total_wait_time
        self._last = stats
        self._memory.add(
            stats.allocated_memory, self._budget.props.max_memory, self._other_pool.props.allocated_memory
        )
        self._waiting.add(stats.waiting)
        self._wait_time.add(waited / n_over / 1000 if n_over > 0 else 0)
        self._n_samples += 1
        if self._n_samples % 5 == 0:
            self._tell(stats)
        return GLib.SOURCE_CONTINUE

    def _tell(self, stats):
        """Four times a second, in words."""
        job = self._job
        state = self._get_state()
        if job is None:
            self._status.set_text(f"{len(self._paths)} files" if self._paths else "Choose a folder to hash")
        else:
            self._status.set_text(
                f"{state.capitalize()}: {job.n_files} files, {describe_bytes(job.n_bytes)}; "
                f"{stats.n_waits} waits, the longest {stats.longest_wait / 1000:.1f} ms; "
                f"{describe_bytes(self._pool.props.cached_memory)} cached"
            )
        for chart in self._charts:
            chart.say()
        if self._report:
            figures = {
                "state": state, "budget": self._budget.props.max_memory, "out": stats.allocated_memory,
                "other": self._other_pool.props.allocated_memory, "total": self._budget.props.allocated_memory,
                "waits": stats.n_waits,
                "cached": self._pool.props.cached_memory, "hits": stats.n_hits,
                "waiting": stats.waiting, "files": job.n_files if job else 0, "threads": self._settings.n_workers,
                "request": self._settings.n_buffers * BUFFER_SIZE,
            }
            print(json.dumps(figures), flush=True)

    def _on_close(self, _window):
        """Leaves no thread and no part of the pool behind."""
        if self._job:
            self._job.stop()
            self._job.join()
        self._other_user.end()
        for pool in (self._pool, self._other_pool):
            pool.close()
            pool.drain(None)
        return False


def follow_dark_mode():
    """GTK does not read the preference of the desktop; the portal knows it. Without a portal, GTK_THEME
    decides."""

    def apply(value):
        while value.get_type_string() == "v":
            value = value.get_variant()
        Gtk.Settings.get_default().props.gtk_application_prefer_dark_theme = value.unpack() == 1

    def on_signal(_proxy, _sender, name, parameters):
        space, key, _ = parameters.unpack() if name == "SettingChanged" else (None, None, None)
        if (space, key) == ("org.freedesktop.appearance", "color-scheme"):
            apply(parameters.get_child_value(2))

    def on_read(proxy, result):
        try:
            apply(proxy.call_finish(result).get_child_value(0))
        except GLib.Error:
            pass  # no portal, or it does not know

    def on_proxy(_source, result):
        try:
            proxy = Gio.DBusProxy.new_for_bus_finish(result)
        except GLib.Error:
            return
        proxy.connect("g-signal", on_signal)
        arguments = GLib.Variant("(ss)", ("org.freedesktop.appearance", "color-scheme"))
        proxy.call("Read", arguments, Gio.DBusCallFlags.NONE, -1, None, on_read)

    Gio.DBusProxy.new_for_bus(
        Gio.BusType.SESSION, Gio.DBusProxyFlags.NONE, None, "org.freedesktop.portal.Desktop",
        "/org/freedesktop/portal/desktop", "org.freedesktop.portal.Settings", None, on_proxy,
    )


def find_files(paths):
    files = []
    for path in paths:
        if os.path.isdir(path):
            for folder, _, names in os.walk(path):
                files += [os.path.join(folder, name) for name in names]
        else:
            files.append(path)
    return [file for file in files if os.path.isfile(file)]


def main():
    arguments = create_parser(BufPool.VERSION_S).parse_args()
    if not Gtk.init_check() or Gdk.Display.get_default() is None:
        sys.exit("There is no display.")

    application = Gtk.Application(flags=Gio.ApplicationFlags.NON_UNIQUE)

    def activate(_application):
        follow_dark_mode()
        Window(application, find_files(arguments.paths), arguments.repeat, arguments.report).present()
        gc.freeze()  # a request that has waited for 5 ms collects garbage: make that cheap

    application.connect("activate", activate)
    application.set_accels_for_action("window.close", ["<Control>q"])
    sys.exit(application.run([]))


if __name__ == "__main__":
    main()
