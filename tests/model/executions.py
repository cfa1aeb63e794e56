# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""All executions of a small program that the memory model of C11 allows.

A program is a list of threads. A thread is a generator that yields accesses, and receives the values that
they read. All locations are 0 at first, unless specified otherwise. An execution consists of what each thread
did, with two relations: which write each read reads from, and in which order the writes of each location
occurred (the modification order). All combinations are tried, and those are kept that obey the axioms:

- happens-before (program order, and each release that an acquire synchronizes with) has no cycle;
- coherence: no access reads or overwrites against happens-before;
- atomicity: a read-modify-write directly follows the write that it has read;
- asymmetric fences: a heavy fence, which is membarrier(), happens before or after each light or heavy fence
  of another thread. A light fence is only a fence of the compiler.

The sequentially consistent order is left out, because nothing here uses it, and so is any axiom against
values out of thin air. A release sequence has only read-modify-writes, as since C++20. Both allow more
executions than an implementation has: an execution that is forbidden here is forbidden everywhere."""

import itertools
from dataclasses import dataclass

LIGHT, HEAVY = "light", "heavy"
PLAIN, RELAXED, ACQUIRE, RELEASE, ACQ_REL = "plain", "relaxed", "acquire", "release", "acq_rel"


class Stop(Exception):
    """The thread stops: it would have to wait, or to take another path."""


@dataclass(frozen=True)
class Load:
    location: str
    order: str = PLAIN


@dataclass(frozen=True)
class Store:
    location: str
    value: object
    order: str = PLAIN


@dataclass(frozen=True)
class Exchange:
    """A read-modify-write. The change may return None to refuse a value: then it is only a load."""

    location: str
    change: object
    order: str


@dataclass(frozen=True)
class Free:
    """The memory of the locations is freed: all accesses to them must happen before."""

    locations: tuple


@dataclass(frozen=True)
class Fence:
    kind: str


@dataclass(frozen=True)
class Event:
    thread: int
    location: str
    order: str
    reads: bool
    writes: bool
    read: object
    written: object
    freed: tuple = ()


def event_of(thread, access, value):
    if isinstance(access, Free):
        return Event(thread, "", PLAIN, False, False, None, None, access.locations)
    if isinstance(access, Fence):
        return Event(thread, "", access.kind, False, False, None, None)
    if isinstance(access, Load):
        return Event(thread, access.location, access.order, True, False, value, None)
    if isinstance(access, Store):
        return Event(thread, access.location, access.order, False, True, None, access.value)
    written = access.change(value)
    if written is None:
        return Event(thread, access.location, RELAXED, True, False, value, None)
    return Event(thread, access.location, access.order, True, True, value, written)


def runs_of(thread, program, values):
    """All that a thread can do, if a load may return any of the values of its location."""
    finished, begun = [], [[]]
    while begun:
        events = begun.pop()
        generator = program()
        try:
            access = next(generator)
            for event in events:
                access = generator.send(event.read)
        except StopIteration as end:
            finished.append((events, end.value))
            continue
        except Stop:
            finished.append((events, None))
            continue
        loads = isinstance(access, (Load, Exchange))
        for value in values[access.location] if loads else [None]:
            begun.append(events + [event_of(thread, access, value)])
    return finished


def runs_of_all(threads, initial, domain):
    """The same for each thread, with the values that the others can have written. A value outside the domain
    of its location is written, but no thread reads it; Execution.conflicts() reports it."""
    locations = set(initial) | {location for program in threads for location in program.locations}
    values = {location: {initial.get(location, 0)} for location in locations}
    while True:
        runs = [runs_of(number, program, values) for number, program in enumerate(threads)]
        before = sum(map(len, values.values()))
        for events, _ in itertools.chain(*runs):
            for event in events:
                if event.writes and event.written in domain.get(event.location, [event.written]):
                    values[event.location].add(event.written)
        if sum(map(len, values.values())) == before:
            return runs, locations


def thread(*locations):
    def mark(program):
        program.locations = locations
        return program

    return mark


class Relation:
    """Rows of bits: row a has bit b when a comes before b."""

    def __init__(self, size):
        self.rows = [0] * size

    def add(self, a, b):
        self.rows[a] |= 1 << b

    def has(self, a, b):
        return self.rows[a] >> b & 1

    def close(self):
        for middle in range(len(self.rows)):
            bits = self.rows[middle]
            for a, row in enumerate(self.rows):
                if row >> middle & 1:
                    self.rows[a] |= bits
        return self

    def is_cyclic(self):
        return any(row >> a & 1 for a, row in enumerate(self.rows))


class Execution:
    def __init__(self, events, results, domain, sources, orders, fenced):
        self.events, self.results, self.domain = events, results, domain
        self.sources = sources  # read -> the write it reads from
        self.orders = orders  # location -> its writes, in modification order
        self.fenced = fenced  # pairs of fences, of which the first comes before the second
        self.before = self.happens_before()

    def happens_before(self):
        before = Relation(len(self.events))
        for a, b in self.fenced:
            before.add(a, b)
        for b, event in enumerate(self.events):
            for a in range(b):
                if self.events[a].thread in (event.thread, -1):
                    before.add(a, b)
            if event.reads and event.order in (ACQUIRE, ACQ_REL):
                source = self.sources[b]
                while True:
                    if self.events[source].order in (RELEASE, ACQ_REL):
                        before.add(source, b)
                    if source not in self.sources:
                        break
                    source = self.sources[source]
        return before.close()

    def is_consistent(self):
        if self.before.is_cyclic():
            return False
        after = Relation(len(self.events))  # in the order of their location
        for order in self.orders.values():
            for a, b in itertools.combinations(order, 2):
                after.add(a, b)
        for read, source in self.sources.items():
            after.add(source, read)
            order = self.orders[self.events[read].location]
            for later in order[order.index(source) + 1 :]:
                if later != read:
                    after.add(read, later)
        after.close()
        everything = range(len(self.events))
        return not any(after.has(b, a) and self.before.has(a, b) for a in everything for b in everything) \
            and not after.is_cyclic()

    def conflicts(self):
        """Accesses to freed memory, races, and unexpected values."""
        for a, first in enumerate(self.events):
            if first.writes and first.written not in self.domain.get(first.location, [first.written]):
                return f"{first.written} in {first.location}"
            for b, second in enumerate(self.events):
                if second.location in first.freed and second.thread != first.thread \
                        and second.thread >= 0 and not self.before.has(b, a):
                    return f"{second.location} is accessed when it may be freed"
                if a < b and first.location == second.location and PLAIN in (first.order, second.order) \
                        and (first.writes or second.writes) \
                        and not self.before.has(a, b) and not self.before.has(b, a):
                    return f"a data race on {first.location}"
        return None

    def last(self, location):
        return self.events[self.orders[location][-1]].written


def choose_orders(events, sources, writes):
    """The modification orders of a location in which each read-modify-write follows its source."""
    first, rest = writes[0], writes[1:]
    for order in itertools.permutations(rest):
        order = (first,) + order
        if all(write not in sources or order[place - 1] == sources[write]
               for place, write in enumerate(order)):
            yield order


def choose_fenced(events):
    """For each heavy fence, whether each other fence comes before or after it."""
    heavy = [number for number, event in enumerate(events) if event.order == HEAVY]
    pairs = [(number, fence) for fence in heavy for number, event in enumerate(events)
             if event.thread != events[fence].thread
             and (event.order == LIGHT or event.order == HEAVY and number < fence)]
    return itertools.product(*(((a, b), (b, a)) for a, b in pairs))


def executions(threads, initial=None, domain=None):
    """The domain is the set of possible values of a location, if a chain of changes would not end."""
    initial, domain = initial or {}, domain or {}
    runs, locations = runs_of_all(threads, initial, domain)
    begin = [Event(-1, location, PLAIN, False, True, None, initial.get(location, 0))
             for location in sorted(locations)]
    for chosen in itertools.product(*runs):
        events = begin + [event for run, _ in chosen for event in run]
        results = [result for _, result in chosen]
        writes = {location: [] for location in locations}
        for number, event in enumerate(events):
            if event.writes:
                writes[event.location].append(number)
        reads = [number for number, event in enumerate(events) if event.reads]
        candidates = [[write for write in writes[events[read].location]
                       if events[write].written == events[read].read and write != read]
                      for read in reads]
        for picked, fenced in itertools.product(itertools.product(*candidates), choose_fenced(events)):
            sources = dict(zip(reads, picked))
            changed = [sources[read] for read in reads if events[read].writes]
            if len(set(changed)) < len(changed):
                continue
            for orders in itertools.product(
                    *(choose_orders(events, sources, writes[location]) for location in sorted(locations))):
                execution = Execution(events, results, domain, sources, dict(zip(sorted(locations), orders)), fenced)
                if execution.is_consistent():
                    yield execution
