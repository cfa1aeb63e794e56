#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The example monitor.py on a separate display, with simulated keys and clicks.
Usage: test-monitor.py MONITOR, with the paths to the library and the overrides set."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1024 * 1024
TITLE = "Buffer pool monitor"
PATIENCE = 60
# Any message is a failure. The server has no graphics card, which GTK from 4.14 on would report.
QUIET = {"G_DEBUG": "fatal-criticals", "GSK_RENDERER": "cairo", "GTK_A11Y": "none", "GDK_DISABLE": "gl,vulkan"}
work = tempfile.TemporaryDirectory()


class Display:
    """An X server that stores its picture in a file."""

    def __init__(self):
        reader, writer = os.pipe()
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", "820x620x24", "-fbdir", work.name, "-nolisten", "tcp",
             "-noreset"],
            pass_fds=[writer], stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        with os.fdopen(reader) as stream:
            os.environ["DISPLAY"] = ":" + stream.readline().strip()

    def pixels(self):
        """The picture is an XWD file: a header, a color table, and the pixels."""
        with open(f"{work.name}/Xvfb_screen0", "rb") as stream:
            data = stream.read()
        header = struct.unpack(">25I", data[:100])
        width, height, bytes_per_line = header[4], header[5], header[12]
        begin = header[0] + 12 * header[19]
        lines = [data[begin + y * bytes_per_line :][: width * 4] for y in range(height)]
        return [line[x : x + 3] for line in lines for x in range(0, len(line), 4)]

    def brightness(self):
        pixels = self.pixels()
        return sum(map(sum, pixels)) / len(pixels) / 3

    def end(self):
        self.server.terminate()
        self.server.wait()


class Monitor:
    """The program, its reports, and input for it."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, sys.argv[1], "--report", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, **QUIET, **environment),
        )
        self.reports = []
        self.errors = []
        self.threads = [threading.Thread(target=self._listen), threading.Thread(target=self._collect)]
        for thread in self.threads:
            thread.start()
        self.window = None

    def _listen(self):
        for line in self.process.stdout:
            self.reports.append(json.loads(line))

    def _collect(self):
        self.errors += self.process.stderr

    def wait_for(self, condition, what):
        """Returns the next report that satisfies the condition."""
        position = len(self.reports)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            for report in self.reports[position:]:
                if condition(report):
                    return report
            time.sleep(0.02)
        raise AssertionError(f"{what}: {self.reports[-3:]} {self.errors}")

    def focus(self):
        result = subprocess.run(
            ["xdotool", "search", "--sync", "--onlyvisible", "--name", TITLE],
            capture_output=True, text=True, check=True, timeout=PATIENCE,
        )
        self.window = result.stdout.split()[-1]
        subprocess.run(["xdotool", "windowfocus", "--sync", self.window], check=True, timeout=PATIENCE)

    def press(self, *keys):
        subprocess.run(["xdotool", "key", "--delay", "50", *keys], check=True)

    def click_close(self):
        """The button at the right end of the title bar."""
        shape = subprocess.run(
            ["xdotool", "getwindowgeometry", "--shell", self.window], capture_output=True, text=True, check=True
        ).stdout
        width = int(dict(line.split("=") for line in shape.split())["WIDTH"])
        subprocess.run(
            ["xdotool", "mousemove", "--window", self.window, str(width - 27), "27", "sleep", "0.2", "click", "1"],
            check=True,
        )

    def quit(self):
        """Presses a key until it has ended, because a key is lost while the window has no focus."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            subprocess.run(["xdotool", "windowfocus", self.window, "key", "ctrl+q"], capture_output=True)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                print("# it did not end within 5 seconds", flush=True)

    def end(self):
        """Waits until it has ended, without a message."""
        try:
            status = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            for thread in self.threads:
                thread.join()
        assert status == 0 and not self.errors, (status, self.errors, self.reports[-1:])


def it_runs_the_job():
    report = monitor.wait_for(lambda r: r["state"] == "running" and r["waiting"] > 0, "nobody waits")
    assert report["budget"] == 8 * MIB and report["waits"] > 0, report


def it_draws():
    """The chart of waiting requests is orange, and nothing else is."""
    deadline = time.monotonic() + PATIENCE
    while (n := sum(red > 200 and red - blue > 80 for blue, _, red in display.pixels())) < 500:
        assert time.monotonic() < deadline, f"{n} orange pixels"
        time.sleep(0.1)


def the_budget_slider_is_obeyed():
    monitor.focus()
    monitor.press("alt+b", "Right", "Right", "Right")
    monitor.wait_for(lambda r: r["budget"] == 11 * MIB, "the budget is not 11 MiB")
    monitor.wait_for(lambda r: r["out"] > 8 * MIB, "the job does not use the higher budget")
    monitor.press("Home")
    monitor.wait_for(lambda r: r["budget"] == MIB and 0 < r["out"] <= MIB, "the job does not keep to the lower budget")
    monitor.press("End")
    monitor.wait_for(lambda r: r["budget"] == 64 * MIB, "the budget is not 64 MiB")


def the_other_sliders_are_obeyed():
    monitor.press("alt+h", "Right")
    monitor.wait_for(lambda r: r["threads"] == 2, "there are not 2 threads")
    monitor.press("alt+r", "Home")
    monitor.wait_for(lambda r: r["request"] == 4096, "a request is not 4 KiB")
    monitor.press("End")
    monitor.wait_for(lambda r: r["request"] == MIB, "a request is not 1 MiB")


def the_pools_give_way_to_each_other():
    monitor.press("alt+l", "End")
    monitor.wait_for(lambda r: r["other"] > 16 * MIB, "the other pool does not grow")
    monitor.press("Home")
    monitor.wait_for(lambda r: r["other"] == 0 and r["out"] > 0, "the other pool does not shrink")
    assert all(r["total"] <= r["budget"] for r in monitor.reports if r["other"] > 0), monitor.reports


def the_other_pool_leaves_memory_to_the_job():
    """Even if it wants more than the budget."""
    monitor.press("alt+l", "End")
    monitor.wait_for(lambda r: r["other"] > 16 * MIB, "the other pool does not grow")
    monitor.press("alt+b", "Home")
    lowered = monitor.wait_for(lambda r: r["total"] <= r["budget"] == MIB, "the pools do not keep to the lower budget")
    monitor.wait_for(lambda r: r["files"] > lowered["files"] + 1, "the job starves")
    monitor.press("End", "alt+l", "Home")
    monitor.wait_for(lambda r: r["other"] == 0 and r["budget"] == 64 * MIB, "the other pool does not shrink")


def files_get_done():
    monitor.wait_for(lambda r: r["files"] >= 8, "no files are done")


def it_stops():
    monitor.press("alt+p")
    monitor.wait_for(lambda r: r["state"] == "stopped" and r["out"] == 0 and r["waiting"] == 0, "it does not stop")


def it_starts_again():
    monitor.press("alt+s")
    monitor.wait_for(lambda r: r["state"] == "running" and r["out"] > 0, "it does not start")


def it_never_exceeds_the_budget():
    lowered = [r["budget"] for r in monitor.reports].index(MIB)
    assert all(r["out"] <= r["budget"] for r in monitor.reports[:lowered]), monitor.reports


def it_quits_while_it_runs():
    monitor.quit()
    monitor.end()


def it_is_dark_and_can_be_closed_with_the_mouse():
    light = display.brightness()
    dark = Monitor("--repeat", *files, GTK_THEME="Adwaita:dark")
    dark.focus()
    dark.wait_for(lambda r: r["waits"] > 0, "nobody waits")
    assert display.brightness() < 100, (light, display.brightness())
    dark.click_close()
    dark.end()


def it_starts_without_files():
    idle = Monitor()
    idle.focus()
    idle.wait_for(lambda r: r["state"] == "ready", "it is not ready")
    assert display.brightness() > 150, display.brightness()
    idle.quit()
    idle.end()


def it_ends_by_itself():
    """Without --repeat, the job ends."""
    once = Monitor(*files)
    once.focus()
    once.wait_for(lambda r: r["state"] == "done" and r["files"] == len(files) and r["out"] == 0, "it is not done")
    once.quit()
    once.end()


TESTS = [
    it_runs_the_job, it_draws, the_budget_slider_is_obeyed, the_other_sliders_are_obeyed,
    the_pools_give_way_to_each_other, the_other_pool_leaves_memory_to_the_job, files_get_done, it_stops,
    it_starts_again, it_never_exceeds_the_budget, it_quits_while_it_runs, it_is_dark_and_can_be_closed_with_the_mouse,
    it_starts_without_files, it_ends_by_itself,
]

files = [f"{work.name}/file-{i}" for i in range(4)]
for name in files:
    with open(name, "wb") as out:
        out.write(os.urandom(MIB) * 16)

display = Display()
monitor = Monitor("--repeat", *files)
failed = 0
print(f"1..{len(TESTS)}")
try:
    for number, test in enumerate(TESTS, 1):
        try:
            test()
            print(f"ok {number} {test.__name__.replace('_', ' ')}", flush=True)
        except (AssertionError, subprocess.SubprocessError) as error:
            failed += 1
            print("# " + str(error).replace("\n", "\n# "))
            print(f"not ok {number} {test.__name__.replace('_', ' ')}", flush=True)
finally:
    monitor.process.kill()
    display.end()
sys.exit(failed != 0)
