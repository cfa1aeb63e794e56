#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Calls everything that introspection finds in BufPool from Python, with random arguments: no call may crash,
cause a critical warning, or hang.
Usage: fuzz-python.py [--seeds N] [--first-seed N] [--calls N]

Each seed runs in a separate process. An alarm interrupts a call that waits, like Ctrl-C does."""

import argparse
import collections
import contextlib
import gc
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import warnings

import gi

gi.require_version("BufPool", "1.0")
from gi.repository import BufPool, Gio, GLib, GObject  # noqa: E402
import introspected  # noqa: E402

try:
    # Otherwise, an alarm could interrupt PoolAllocation.__array__() during the import.
    import numpy  # noqa: F401
except ImportError:
    pass

LONGEST_CALL = 0.02  # seconds
MOST_BYTES = 1 << 20  # of an allocation that the fuzz test keeps
MOST_MEMORY = 3 << 29  # of the process
MOST_VALUES = 60
ENOUGH_CALLS = 30000  # enough for nearly each call to succeed once
MORE_SEEDS = 6  # for the calls that did not
NUMBERS = [0, 1, 2, 3, 7, 8, 16, 100, 4096, 65535, 65536]
NUMBERS += [sign * 2**power + more for sign in (1, -1) for power in (31, 32, 53, 63, 64, 70) for more in (-1, 0, 1)]
OTHERS = [-1, -5, 0.0, 1.5, -0.1, 1e300, float("nan"), float("inf"), True, None, "", "text", "8", "\0", "\udc80"]
OTHERS += [b"", b"bytes", bytearray(b"more"), memoryview(b"view"), [], [1, 2], [300], ["x"], (), {}, {1: 2}, 1j]
OTHERS += [object(), object, len, print.__class__, Gio, BufPool, BufPool.Pool, BufPool.PoolError.CLOSED]


class TooLong(BaseException):
    """The alarm for a call that waits."""


class Fuzz:
    def __init__(self, seed, log):
        self.random = random.Random(seed)
        self.log = log
        self.values = []
        self.results = []
        self.owners = []  # of the current call
        self.succeeded = collections.Counter()
        self.calls = list(find_calls())

    def number(self):
        return self.random.choice(NUMBERS if self.random.random() < 0.2 else NUMBERS[:7])

    def pool(self):
        kind = self.random.randrange(5)
        if kind == 0:
            size, alignment = self.random.choice([0, 3, 64]), self.number() % 2**32
            return GObject.new(BufPool.Pool, buffer_size=size, alignment=alignment)
        size = self.random.choice([1, 16, 64, 4096])
        budget = size * self.random.choice([1, 8, 5000])
        zero_fill = self.random.random() < 0.2
        if self.random.random() < 0.3:
            zero_fill, above = False, self.budget()
            pool = BufPool.Pool(buffer_size=size, max_memory=budget, budget=above)
        else:
            pool = BufPool.Pool(buffer_size=size, max_memory=budget, zero_fill=zero_fill)
        if kind == 1:
            pool.close()
        return pool

    def budget(self):
        """Some are in one tree, and some have a reserve, or allow no waiting."""
        kept = [value for value in self.values if isinstance(value, BufPool.Budget)]
        return BufPool.Budget(
            max_memory=self.random.choice([0, 1, 100, 4096, 100000]),
            parent=self.random.choice([None, *kept]),
            reserved_memory=self.random.choice([0, 0, 0, 50]),
            max_waiting=self.random.choice([-1, -1, 0, 1]),
        )

    def permit(self):
        permit = BufPool.Budget.new(100).try_acquire(self.random.choice([0, 1, 100]))
        if self.random.random() < 0.2:
            permit.release()
        return permit

    def allocation(self):
        allocation = BufPool.Pool(buffer_size=16, max_memory=128).try_allocate(self.random.randint(1, 8))
        if self.random.random() < 0.2:
            allocation.release()
        return allocation

    def stream(self):
        stream = self.random.choice(
            [
                Gio.MemoryInputStream.new_from_data(b"x" * self.random.randrange(200)),
                *[Gio.MemoryOutputStream.new_resizable() for _ in range(2)],
                Gio.File.new_for_path(__file__).read(None),  # it ends: a splice of an endless one would fill all memory
            ]
        )
        if self.random.random() < 0.1:
            stream.close(None)
        return stream

    def reader(self):
        stream = Gio.MemoryInputStream.new_from_data(b"x" * self.random.randrange(200))
        if self.random.random() < 0.1:
            stream = Gio.File.new_for_path(__file__).read(None)
        pool = BufPool.Pool(buffer_size=16, max_memory=self.random.choice([16, 128]))
        return BufPool.Reader(stream=stream, pool=pool, n_buffers=1, read_ahead=self.random.randrange(3))

    def cancellable(self):
        cancellable = Gio.Cancellable()
        if self.random.random() < 0.5:
            cancellable.cancel()
        return cancellable

    def callback(self):
        if self.random.random() < 0.1:
            return lambda *arguments: None

        owners = self.owners

        def finish(_, result, *_more):
            self.results.append(result)
            owner = self.random.choice([self.value(), *owners * 9])
            if not isinstance(owner, (BufPool.Pool, BufPool.Budget, BufPool.PoolAllocation, BufPool.Reader)):
                return
            finishers = [name for name in dir(owner) if name.endswith("_finish")]
            for name in self.random.sample(finishers, len(finishers)):
                with contextlib.suppress(Exception):
                    self.keep(getattr(owner, name)(result))
                    self.succeeded[f"{type(owner).__name__}.{name}"] += 1

        return finish

    def result(self):
        if self.results and self.random.random() < 0.5:
            return self.random.choice(self.results)
        return Gio.Task.new(self.random.choice([None, self.pool()]), None, None)

    def value(self):
        """Any value: something that an earlier call returned, or something new."""
        kind = self.random.random()
        if self.values and kind < 0.3:
            return self.random.choice(self.values)
        if kind < 0.5:
            return self.number()
        if kind < 0.7:
            return self.random.choice(OTHERS)
        makers = [self.pool, self.budget, self.permit, self.allocation, self.reader, self.stream, self.cancellable, self.callback, self.result]
        return self.random.choice(makers)()

    def fitting(self, name):
        """A possible value for a parameter of this name; the names come from introspection."""
        if self.random.random() < 0.15:
            return self.value()
        makers = {
            "cancellable": lambda: self.random.choice([None, self.cancellable()]),
            "callback": self.callback,
            "result": self.result,
            "stream": self.stream,
            "budget": lambda: self.random.choice([None, self.budget(), self.budget()]),
            "parent": self.budget,
            "pool": self.pool,
            "target": Gio.MemoryOutputStream.new_resizable,
            "flags": lambda: Gio.OutputStreamSpliceFlags(self.random.randrange(4)),
            "data": lambda: b"d" * self.random.randrange(100),
            "timeout_us": lambda: self.random.choice([0, 1, 1000, -1]),
            "io_priority": lambda: self.random.choice([0, 0, 0, 100, -100, 2**31 - 1]),
        }
        return makers.get(name, self.number)()

    def owner(self, container):
        if self.random.random() < 0.02:
            return self.value()
        kept = [value for value in self.values if isinstance(value, container)]
        if kept and self.random.random() < 0.7:
            return self.random.choice(kept)
        makers = {
            BufPool.Pool: self.pool,
            BufPool.Budget: self.budget,
            BufPool.Permit: self.permit,
            BufPool.Reader: self.reader,
        }
        return makers.get(container, self.allocation)()

    def arguments(self, call):
        self.owners = []
        arguments = [self.fitting(name) for name in call.parameters]
        change = self.random.random()
        if change < 0.1:
            arguments.append(self.value())
        elif change < 0.2:
            arguments = arguments[:-1]
        if call.container is not None:
            self.owners.append(self.owner(call.container))
            arguments = self.owners + arguments
        return arguments

    def keep(self, value):
        if isinstance(value, BufPool.PoolAllocation) and value.get_allocated_bytes() > MOST_BYTES:
            return
        self.values.append(value)
        if len(self.values) > MOST_VALUES:
            del self.values[self.random.randrange(MOST_VALUES)]

    def step(self, number):
        call = self.random.choice(self.calls)
        arguments = self.arguments(call)
        os.pwrite(self.log, f"{number}: {call.name} {arguments!r}"[:4000].encode("utf-8", "replace").ljust(4000), 0)
        # Repeatedly, because Python drops what an alarm raises in a finalizer.
        signal.setitimer(signal.ITIMER_REAL, LONGEST_CALL, LONGEST_CALL)
        try:
            self.keep(call.function(*arguments))
            self.succeeded[call.name] += 1
        except (Exception, TooLong):  # pylint: disable=broad-except
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        del self.results[:-5]
        for _ in range(3):
            GLib.MainContext.default().iteration(False)

    def run(self, n_calls):
        for number in range(n_calls):
            try:
                self.step(number)
            except TooLong:  # it came late
                pass


class Call:
    def __init__(self, name, function, parameters, container=None, introspected=False):
        self.name, self.function, self.parameters = name, function, parameters
        self.container, self.introspected = container, introspected


def find_calls():
    """Everything in the namespace that can be called or set, and what the overrides have added."""
    for name, info in introspected.infos().items():
        thing = getattr(BufPool, name)
        if callable(thing):
            yield Call(name, thing, ["value"] if isinstance(thing, type) else [])
        methods = introspected.methods(info)
        for method in methods:
            container = thing if method.is_method() else None
            title = f"{name}.{method.get_name()}"
            yield Call(title, getattr(thing, method.get_name()), parameters(method), container, True)
        if methods:
            yield from override_calls(thing, [method.get_name() for method in methods])
        for property_info in introspected.properties(info):
            yield from property_calls(thing, property_info)


def parameters(method):
    return [name for name in introspected.taken(method) if name != "user_data"]


def override_calls(container, known):
    for name, function in vars(container).items():
        if callable(function) and name not in known and not re.match("_[a-z]|__(init|new)__", name):
            yield Call(name, function, ["index"] if name == "__getitem__" else [], container)


def property_calls(container, info):
    name = info.get_name()

    def read(pool):
        return pool.get_property(name), getattr(pool.props, name.replace("-", "_"))

    def construct(value, other):
        second = {BufPool.Pool: "buffer_size", BufPool.Budget: "max_waiting"}.get(container, "n_buffers")
        return container(**{second: other, name.replace("-", "_"): value})

    yield Call("get " + name, read, [], container)
    yield Call("construct with " + name, construct, ["value", "value"])
    if introspected.is_settable(info):
        yield Call("set " + name, lambda pool, value: pool.set_property(name, value), ["value"], container)
        yield Call("props." + name, lambda pool, value: setattr(pool.props, name, value), ["value"], container)


def on_alarm(*_):
    raise TooLong


def run_child(seed, n_calls, log):
    signal.signal(signal.SIGALRM, on_alarm)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    sys.unraisablehook = lambda _: None
    fuzz = Fuzz(seed, log)
    fuzz.run(n_calls)
    # Arguments that no call accepts would only test the binding.
    never = {call.name for call in fuzz.calls if call.introspected} - set(fuzz.succeeded)
    fuzz.values.clear()
    gc.collect()
    print(*never)


def run_seed(seed, n_calls):
    """Returns the errors that were found, and the calls that never succeeded."""
    with tempfile.TemporaryFile() as log:
        environment = dict(os.environ, G_DEBUG="fatal-criticals")
        # A random allocation may be large: its memory must not be accessed, and the process has a limit.
        environment.pop("MALLOC_PERTURB_", None)
        command = [sys.executable, __file__, "--child", str(log.fileno()), "--first-seed", str(seed)]
        try:
            child = subprocess.run(
                command + ["--calls", str(n_calls)],
                env=environment,
                pass_fds=[log.fileno()],
                timeout=60 + n_calls / 100,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                check=False,
            )
            status, errors, never = child.returncode, child.stderr, child.stdout.decode().split()
        except subprocess.TimeoutExpired as error:
            status, errors, never = "time-out", error.stderr or b"", []
        log.seek(0)
        last = log.read().decode("utf-8", "replace").strip()
    if status == 0:
        return None, set(never)
    return f"seed {seed}, status {status}\nlast call: {last}\n" + errors.decode("utf-8", "replace")[-2000:], None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=ENOUGH_CALLS)
    parser.add_argument("--child", type=int)
    options = parser.parse_args()
    if options.child is not None:
        run_child(options.first_seed, options.calls, options.child)
        return 0

    failed = 0
    never = None
    print(f"1..{options.seeds + 1}")

    def run(number):
        nonlocal never
        problem, of_seed = run_seed(options.first_seed + number, options.calls)
        if of_seed is not None:
            never = of_seed if never is None else never & of_seed
        if problem:
            print("# " + problem.replace("\n", "\n# "))
        return problem is None

    for number in range(options.seeds):
        passed = run(number)
        failed += not passed
        print("ok" if passed else "not ok", number + 1, f"{options.calls} random calls", flush=True)

    # What succeeds also depends on time, so a call that was unlucky gets another chance.
    succeeded = True
    if options.calls * options.seeds >= ENOUGH_CALLS:
        for number in range(options.seeds, options.seeds + MORE_SEEDS):
            if not never:
                break
            succeeded &= run(number)
        if never:
            succeeded = False
            print(f"# never succeeded: {never}")
    failed += not succeeded
    print("ok" if succeeded else "not ok", options.seeds + 1, "each call succeeds")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
