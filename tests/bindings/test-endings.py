#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Programs that drop pools and allocations in the worst order, or just end: each ends by itself. The relevant
ones are run again with a typelib in which the plain functions have the plain names: then they hang. Usage:
test-endings.py LANGUAGE INTERPRETER GIR COMPILER"""

import os
import re
import subprocess
import sys
import tempfile

LIMIT = 10  # seconds
PLAIN_LIMIT = 4

PYTHON = """
import atexit, gc, gi, os, sys, threading, time
gi.require_version("BufPool", "1.0")
from gi.repository import BufPool, Gio, GLib, GObject
try:
    from gi.repository.GioUnix import InputStream as UnixInputStream
except ImportError:
    UnixInputStream = Gio.UnixInputStream
pool = BufPool.Pool(buffer_size=16, max_memory=128)
a = pool.allocate(8)
def until_waiting():
    while pool.props.waiting == 0:
        time.sleep(0.001)
"""
PYTHON_ENDINGS = {
    "pool first": "del pool\ndel a",
    "allocation first": "del a\ndel pool",
    "global": "",
    "in a cycle": "class C: pass\nc = C()\nc.all = (pool, a, c)\ndel pool, a, c\ngc.collect()",
    "in a cycle that is not collected": "gc.disable()\nc = [pool, a]\nc.append(c)\ndel pool, a, c",
    "in a closure": "f = lambda: (pool, a)\natexit.register(f)",
    "in an object with __del__": "class C:\n  def __init__(self): self.pool, self.a = pool, a\n"
    "  def __del__(self): self.pool.try_allocate\nc = C()\ndel pool, a\nc.c = c",
    "in a GObject": "class C(GObject.Object): pass\nc = C()\nc.pool, c.a = pool, a\ndel pool, a\ndel c",
    "in a signal handler": "pool.connect('notify::closed', lambda *_: a)\ndel pool, a",
    "in a thread": "t = threading.Thread(target=lambda x: time.sleep(0.1), args=(a,))\nt.start()\ndel a, pool",
    "in a thread that goes on": "f = lambda x, y: time.sleep(100)\n"
    "t = threading.Thread(target=f, args=(pool, a), daemon=True)\nt.start()\ndel a, pool",
    "with a view": "v = a.view()\ndel pool, a",
    "with a request": "pool.allocate_async(8, 0, None, lambda p, r: p.allocate_finish(r))\ndel pool",
    "with a request that was granted": "a.release()\npool.allocate_async(8, 0, None, lambda *_: None)\ndel pool, a",
    "while it drains": "pool.drain_async(0, None, lambda p, r: p.drain_finish(r))\ndel pool\ndel a",
    "with a stream operation": "r, w = os.pipe()\ns = UnixInputStream.new(r, True)\n"
    "a.fill_from_stream_async(s, 0, 16, 0, None, lambda *_: None)\n"
    "GLib.MainContext.default().iteration(False)\ndel pool, a",
    "with a thread that waits": "t = threading.Thread(target=pool.allocate, args=(8,), daemon=True)\nt.start()\n"
    "until_waiting()\ndel pool",
    # A thread that drains does not count as waiting, so no property shows when it does, but its stack does.
    "with a thread that drains": "t = threading.Thread(target=pool.drain, daemon=True)\nt.start()\n"
    "while sys._current_frames()[t.ident].f_code.co_name != 'wait': time.sleep(0.001)\ndel pool",
    "released": "a.release()\ndel pool",
    "run_dispose": "pool.run_dispose()",
    "sys.exit": "sys.exit(0)",
}
PYTHON_HANGS = ["pool first", "in a signal handler", "run_dispose"]

JAVASCRIPT = """
const {BufPool, Gio, GLib, GObject} = imports.gi;
const System = imports.system;
let pool = new BufPool.Pool({buffer_size: 16, max_memory: 128});
let a = pool.allocate(8);
"""
JAVASCRIPT_ENDINGS = {
    "pool first": "pool = null; System.gc(); a = null;",
    "allocation first": "a = null; System.gc(); pool = null;",
    "global": "globalThis.all = [pool, a];",
    "together": "pool = a = null; System.gc();",
    "in a cycle": "const c = {pool, a}; c.c = c; pool = a = null; System.gc();",
    "in a closure": "globalThis.f = () => [pool, a];",
    "in a GObject": "const C = GObject.registerClass(class C extends GObject.Object {});\n"
    "let c = new C(); c.pool = pool; c.a = a; pool = a = c = null; System.gc();",
    "in a signal handler": "const held = a; pool.connect('notify::closed', () => held); pool = a = null;",
    "in a timeout": "const all = [pool, a]; GLib.timeout_add(0, 1000, () => all); pool = a = null;",
    "with a view": "globalThis.v = a.get_bytes(); pool = a = null; System.gc();",
    "with a request": "pool.allocate_async(8, 0, null).catch(() => {}); pool = null; System.gc();",
    "with a request that was granted": "a.release(); pool.allocate_async(8, 0, null).catch(() => {}); pool = null;",
    "while it drains": "pool.drain_async(0, null).catch(() => {}); pool = a = null; System.gc();",
    "with a stream operation": "const f = Gio.SubprocessFlags;\n"
    "const cat = Gio.Subprocess.new(['cat'], f.STDIN_PIPE | f.STDOUT_PIPE);\n"
    "a.fill_from_stream_async(cat.get_stdout_pipe(), 0, 16, 0, null).catch(() => {});\n"
    "GLib.MainContext.default().iteration(false); pool = a = null; System.gc();",
    "released": "a.release(); pool = null; System.gc();",
    "run_dispose": "pool.run_dispose();",
    "System.exit": "System.exit(0);",
}
JAVASCRIPT_HANGS = ["pool first", "global", "run_dispose"]

LANGUAGES = {
    "python": (PYTHON, PYTHON_ENDINGS, PYTHON_HANGS),
    "gjs": (JAVASCRIPT, JAVASCRIPT_ENDINGS, JAVASCRIPT_HANGS),
}


def compile_plain(gir, compiler, folder):
    """A typelib in which allocate() is buf_pool_allocate(), and so on."""
    with open(gir, encoding="utf-8") as file:
        text, n_renamed = re.subn(r'(c:identifier="buf_pool_\w+)_pinned(_\w+)?"', r'\1\2"', file.read())
    assert n_renamed == 8, n_renamed
    path = os.path.join(folder, "BufPool-1.0.gir")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    subprocess.run([compiler, path, "-o", os.path.join(folder, "BufPool-1.0.typelib")], check=True)


def ends(interpreter, program, limit, environment):
    try:
        subprocess.run([interpreter, "-c", program], timeout=limit, check=True, env=environment)
    except subprocess.TimeoutExpired:
        return False
    return True


def main():
    language, interpreter, gir, compiler = sys.argv[1:]
    preamble, endings, hangs = LANGUAGES[language]
    number = failed = 0
    print(f"1..{len(endings) + len(hangs)}")

    def report(name, passed):
        nonlocal number, failed
        number += 1
        failed += not passed
        print("ok" if passed else "not ok", number, name, flush=True)

    for name, program in endings.items():
        try:
            report("ends: " + name, ends(interpreter, preamble + program, LIMIT, os.environ))
        except subprocess.CalledProcessError as error:
            print(f"# status {error.returncode}")
            report("ends: " + name, False)

    with tempfile.TemporaryDirectory() as folder:
        compile_plain(gir, compiler, folder)
        plain = dict(os.environ, GI_TYPELIB_PATH=folder)
        for name in hangs:
            # A program that no longer hangs, or that fails, would prove nothing.
            ended = ends(interpreter, preamble + endings[name], PLAIN_LIMIT, plain)
            report("the plain functions hang: " + name, not ended)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
