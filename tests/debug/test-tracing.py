#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What tracers see: probes, at which GDB can stop, too, and the records of Sysprof.
Usage: test-tracing.py PROGRAM LIBRARY

Sysprof itself needs a system bus and PolicyKit. It talks to a program through a socket, and this test is at
the other end: it provides a ring of shared memory for each thread that requests one."""

import array
import mmap
import os
import socket
import struct
import subprocess
import sys

program, library = sys.argv[1:3]

PROBES = ["close", "drain", "evict", "grant", "revoke", "trim", "wait__begin", "wait__end"]
# With the arguments that never vary: bytes, outcomes.
FIRED = [
    "revoke 0", "wait__begin 48", "grant 48", "wait__end 48 1",  # the task
    "wait__begin 64", "wait__end 64 2",  # the thread that times out
    "wait__begin 32", "wait__end 32 1",  # the thread that is granted
    "evict 16 1", "trim 0 16",  # a cached block
    "revoke 48", "drain 0", "wait__begin 0", "evict 16 1", "wait__end 0 1",  # another one, which is not outstanding
    "drain 0", "close", "close",
]
ARGUMENTS = {
    "close": [], "drain": [1], "evict": [1, 2], "grant": [1], "revoke": [1], "trim": [1, 2],
    "wait__begin": [1], "wait__end": [1, 2],
}

FRAME = struct.Struct("=HhiqII")  # length, processor, process, time, type and padding
COUNTER_DEFINITION, COUNTER_VALUES, MARK = 8, 9, 10
PAGE = mmap.PAGESIZE
RING = 256 * PAGE


def listed_probes():
    notes = subprocess.run(["readelf", "-nW", library], capture_output=True, text=True, check=True).stdout.split()
    return [notes[i + 3] for i, word in enumerate(notes) if word == "Provider:" and notes[i + 1] == "bufpool"]


def fired_probes():
    """Stops at each probe, and continues."""
    commands = ["set debuginfod enabled off", "break main", "run"]
    for probe in PROBES:
        arguments = [f"$_probe_arg{i}" for i in ARGUMENTS[probe]]
        form = " ".join(["FIRED", probe] + ["%ld"] * len(arguments))
        commands += [
            f"break -probe-stap bufpool:{probe}",
            "python gdb.breakpoints()[-1].commands = "
            + repr("silent\n" + ", ".join([f'printf "{form}\\n"'] + [f"(long) {a}" for a in arguments]) + "\ncontinue"),
        ]
    arguments = [word for command in commands + ["continue"] for word in ("-ex", command)]
    result = subprocess.run(
        ["gdb", "--batch", "-nx"] + arguments + [program], capture_output=True, text=True, timeout=100, check=False
    )
    fired = [line.removeprefix("FIRED ") for line in result.stdout.splitlines() if line.startswith("FIRED ")]
    if fired != FIRED:
        print("# " + (result.stdout + result.stderr).replace("\n", "\n# "))
    return fired


def new_ring():
    """A page with the read position, the write position, the beginning of the data, and its maximum size."""
    ring = os.memfd_create("ring")
    os.truncate(ring, PAGE + RING)
    os.pwrite(ring, struct.pack("=IIII", 0, 0, PAGE, RING), 0)
    return ring


def read_frames(ring):
    start, end = struct.unpack("=II", os.pread(ring, 8, 0))
    data = os.pread(ring, RING, PAGE)
    while start < end:
        length, _, _, time, kind, _ = FRAME.unpack_from(data, start)
        yield kind & 0xFF, time, data[start + FRAME.size : start + length]
        start += length


def record():
    """Runs the program like Sysprof does, and returns all frames, ordered by time."""
    ours, theirs = socket.socketpair()
    rings = []
    environment = dict(os.environ, SYSPROF_CONTROL_FD=str(theirs.fileno()))
    with subprocess.Popen([program], env=environment, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        while ours.recv(10, socket.MSG_WAITALL) == b"CreatRing\0":
            rings.append(new_ring())
            ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", rings[-1:]))])
    return process.returncode, sorted(frame for ring in rings for frame in read_frames(ring))


def text(data):
    return data.split(b"\0", 1)[0].decode()


def read_marks(frames):
    """Group, name, message and microseconds."""
    return [
        (text(data[8:32]), text(data[32:72]), text(data[72:]), struct.unpack_from("=q", data)[0] // 1000)
        for kind, _, data in frames
        if kind == MARK
    ]


def read_counters(frames):
    """The definitions of counters: identifier, group, name and description. GIO has counters, too."""
    definitions = (
        data[start : start + 128]
        for kind, _, data in frames
        if kind == COUNTER_DEFINITION
        for start in range(8, len(data) - 127, 128)
    )
    return [
        (struct.unpack_from("=I", data, 116)[0] & 0xFFFFFF, text(data[:32]), text(data[32:64]), text(data[64:116]))
        for data in definitions
    ]


def read_values(frames, counter):
    return [
        struct.unpack_from("=q", data, 40)[0]
        for kind, _, data in frames
        if kind == COUNTER_VALUES and struct.unpack_from("=I", data, 8)[0] == counter
    ]


def say(value):
    print("#", value)
    return value


status, frames = record()
marks = read_marks(frames)
counters = read_counters(frames)
ours = {name: (identifier, description) for identifier, group, name, description in counters if group == "BufPool"}
values = read_values(frames, ours.get("pictures", (0,))[0])

CHECKS = {
    "the probes are in the library": lambda: sorted(set(say(listed_probes()))) == PROBES,
    "the probes fire, with their arguments": lambda: say(fired_probes()) == FIRED,
    "the program runs normally while it is recorded": lambda: status == 0,
    "a wait of a task is a span": lambda: ("BufPool", "wait", "pictures: 48 bytes") in [m[:3] for m in say(marks)],
    "a wait of a thread is a span of the same duration": lambda: any(
        mark[:3] == ("BufPool", "wait", "pictures: 32 bytes") and 20000 <= mark[3] for mark in marks
    ),
    "a wait that timed out is one, too": lambda: any(
        mark[:3] == ("BufPool", "wait", "pictures: 64 bytes") and 1000 <= mark[3] for mark in marks
    ),
    "each pool has a counter": lambda: [(n, d) for n, (_, d) in sorted(ours.items())]
    == [("music", "Bytes allocated"), ("pictures", "Bytes allocated")],
    "no other counter has the same identifier": lambda: len({c[0] for c in say(counters)}) == len(counters) > 1,
    "the counter contains the outstanding memory": lambda: len(say(values)) > 1 and all(0 <= v <= 64 for v in values),
}

print(f"1..{len(CHECKS)}")
failed = 0
for number, (name, check) in enumerate(CHECKS.items(), 1):
    passed = check()
    failed += not passed
    print("ok" if passed else "not ok", number, name)
sys.exit(failed != 0)
