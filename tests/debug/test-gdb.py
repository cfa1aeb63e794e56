#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Tests GDB's command "bufpool" on a program that hangs and on its core file.
Usage: test-gdb.py PROGRAM BUILD_DIR"""

import os
import re
import subprocess
import sys
import tempfile

program, build_dir = sys.argv[1:3]
library = f"{build_dir}/bufpool/libbufpool-1.0.so.0"
work = tempfile.TemporaryDirectory()
core = f"{work.name}/core"


def gdb(*commands, load=True):
    """The output of GDB. It finds the script next to the library, if it may load it."""
    arguments = ["gdb", "--batch", "-nx", "-iex", "set debuginfod enabled off"]
    if load:
        arguments += ["-iex", f"add-auto-load-safe-path {build_dir}"]
    result = subprocess.run(arguments + list(commands), capture_output=True, text=True, timeout=100, check=False)
    return result.stdout + result.stderr


def skip(reason):
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


def each(*commands):
    return [argument for command in commands for argument in ("-ex", command)]


def describe_hanging():
    """Starts the program with BUFPOOL_DEBUG=leaks, waits until it hangs, and saves a core file."""
    environment = dict(os.environ, BUFPOOL_DEBUG="leaks", BUFPOOL_DRAIN_WARNING="0")
    with subprocess.Popen([program], env=environment) as process:
        try:
            for _ in range(20):
                live = gdb("-p", str(process.pid), *each("bufpool", f"generate-core-file {core}"))
                if "draining: 1" in live or "ptrace" in live:
                    break
            return live
        finally:
            process.kill()


if ".debug_info" not in subprocess.run(["readelf", "-SW", library], capture_output=True, text=True, check=True).stdout:
    skip("the library has no debug information")

live = describe_hanging()
if "ptrace" in live:
    skip("GDB may not look at processes here")
dead = gdb(*each("bufpool"), program, core)

PICTURES = (
    r'Pool "pictures" at 0x[0-9a-f]+, buffers of 16 bytes\n'
    r"  budget: 64 bytes = 64 in use \+ 0 free \+ 0 in stripes \+ 0 cached; 0 pinned\n"
    r"  state: revoked; threads inside: 1\n"
    r"  stripes: \d+ of \d+\n(    \d+: revoked\n)+"
    r"  waiting: 2\n"
    r"    48 bytes, in thread \d+ \(LWP \d+\), TIME, overtaken 0 times\n"
    r"    16 bytes, a task, requested by thread 1 \(LWP \d+\), TIME, overtaken 0 times\n"
    r"  draining: 0\n"
    r"  outstanding: 1\n"
    r'    64 bytes at 0x[0-9a-f]+, by thread 1 \(LWP \d+\) ".*", TIME\n'
    r"      take_everything \(hanging.c:\d+\)\n      main \(hanging.c:\d+\)\n"
)
LEAKY = (
    r"Pool without a name at 0x[0-9a-f]+, buffers of 4096 bytes\n"
    r"  budget: 1048576 bytes = 8192 in use \+ 1040384 free \+ 0 in stripes \+ 0 cached; 0 pinned\n"
    r"  state: closed, revoked; threads inside: 0\n"
    r"  stripes: \d+ of \d+\n(    \d+: revoked\n)+"
    r"  waiting: 0\n"
    r"  draining: 1\n"
    r"    thread 1 \(LWP \d+\), until all plain allocations are freed, TIME\n"
    r"  outstanding: 1\n"
    r'    8192 bytes at 0x[0-9a-f]+, by thread 1 \(LWP \d+\) ".*", TIME\n'
    r"      leak \(hanging.c:\d+\)\n      main \(hanging.c:\d+\)\n"
)
GONE = (
    r"Pool without a name that is gone, buffers of 32 bytes\n"
    r"  budget: 1024 bytes = 64 in use \+ 960 free \+ 0 in stripes \+ 0 cached; 64 pinned\n"
    r"  state: closed, revoked, abandoned; threads inside: 0\n"
    r"  stripes: \d+ of \d+\n(    \d+: revoked\n)+"
    r"  waiting: 0\n"
    r"  draining: 0\n"
    r"  outstanding: 1\n"
    r'    64 bytes at 0x[0-9a-f]+, by thread 1 \(LWP \d+\) ".*", TIME\n'
    r"      outlive_the_pool \(hanging.c:\d+\)\n      main \(hanging.c:\d+\)\n"
)
TREE = (
    r'Budget "total": 350 of 1000 bytes in use, 0 reserved, 0 requests are waiting\n'
    r"  Budget without a name: 300 of 500 bytes in use, 0 reserved, 0 requests are waiting\n"
    r"    Pool without a name: 1 allocation with 300 of 9007199254740991 bytes, 0 requests are waiting\n"
)
FOR = r"for \d+\.\d{3} s"
SINCE = r"since \d+\.\d{3} s of the monotonic clock"


def finds(pattern, text, time=""):
    """Whether GDB printed this."""
    found = re.search(pattern.replace("TIME", time), text) is not None
    if not found:
        print("# " + text.replace("\n", "\n# "))
    return found


def with_stripes():
    """At the first request, the stripe is live: credit and count are in it."""
    text = gdb(*each("break take_everything", "run", "finish", "bufpool pool", "up", "bufpool pictures"), program)
    return finds(r"budget: 64 bytes = 64 in use \+ 0 free", text) and finds(r"    0: credit 0, count [01]\n", text)


def with_idle_block():
    """Its bytes are free, and not cached."""
    text = gdb(*each("break leak", "run", "up", "bufpool saturated"), program)
    return finds(
        r"budget: 8192 bytes = 4096 in use \+ 4096 free \(4096 idle\) \+ 0 in stripes \+ 0 cached; 0 pinned\n", text
    ) and finds(r"  outstanding: 1\n", text)


CHECKS = {
    "it shows waiting requests of a live process": lambda: finds(PICTURES, live, FOR),
    "it shows leaked allocations of a live process": lambda: finds(LEAKY, live, FOR),
    "it shows what remains of a pool that is gone": lambda: finds(GONE, live, FOR),
    "it shows budgets with the pools below them": lambda: finds(TREE, live) and finds(TREE, dead),
    "it shows waiting requests of a core file": lambda: finds(PICTURES, dead, SINCE),
    "it shows leaked allocations of a core file": lambda: finds(LEAKY, dead, SINCE),
    "it shows one pool": lambda: finds(
        LEAKY, text := gdb(*each("bufpool ((BufMemory *) 'buf-memory.c'::all_memories.tail->data)->owner"), program, core), SINCE
    )
    and "pictures" not in text,
    "it shows the stripes": with_stripes,
    "it shows idle bytes": with_idle_block,
    "a pool is printed in one line": lambda: finds(
        r'BufPool "pictures": 1 allocation with 64 of 64 bytes, 2 requests are waiting',
        gdb(*each("print *(BufPool *) ((BufMemory *) 'buf-memory.c'::all_memories.head->data)->owner"), program, core),
    ),
    "it says when there are no pools": lambda: finds(
        "There are no pools", gdb(*each("break main", "run", "bufpool"), program)
    ),
    "it says when debug information is missing": lambda: finds(
        "There is no debug information of libbufpool",
        gdb(*each(f"source {library}.0.0-gdb.py", "bufpool"), "/bin/true", load=False),
    ),
    "it has help": lambda: finds("EXPRESSION", text := gdb(*each(f"source {library}.0.0-gdb.py", "help bufpool")))
    and "outstanding" in text,
}

print(f"1..{len(CHECKS)}")
failed = 0
for number, (name, check) in enumerate(CHECKS.items(), 1):
    passed = check()
    failed += not passed
    print("ok" if passed else "not ok", number, name)
sys.exit(failed != 0)
