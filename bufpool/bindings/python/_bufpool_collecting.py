# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""When to collect garbage for a request that waits.

Garbage in a cycle can hold the memory that a request waits for, and only a collection frees it. A full
collection takes time in proportion to the live heap, so it is the last resort: a request tries, waits
briefly, and only then collects. The share of time that collections use is bounded. They are repeated while a
request waits, because garbage can be created later."""

import gc
import time
import weakref

# Seconds that a request waits before the first collection.
BRIEF = 0.005
# Seconds until the next look after a collection that freed nothing.
INTERVAL = 0.1
# How much of the time collections may take, and how many seconds of credit they start with.
SHARE = 0.03
ADVANCE = 0.1
# A collection that freed memory counts less, because the request needed it.
DISCOUNT = 8


class Collector:
    """Collects within a share of the time. Threads may use it at the same time: a lost update only makes
    the bound a little less exact, and a lock could stay locked when a signal interrupts its owner."""

    def __init__(self, collect=gc.collect, clock=time.monotonic):
        self._collect = collect
        self._clock = clock
        self._credit = ADVANCE
        self._at = clock()

    def run(self, progress):
        """Collects if the share allows it. Returns the number of seconds until the next look. The result of
        progress() changes when a collection frees memory."""
        begin = self._clock()
        self._credit = min(self._credit + (begin - self._at) * SHARE, ADVANCE)
        self._at = begin
        if self._credit <= 0:
            return max(-self._credit / SHARE, BRIEF)

        before = progress()
        self._collect()
        took = self._clock() - begin
        fruitful = progress() != before
        self._credit -= took / DISCOUNT if fruitful else took
        return BRIEF if fruitful else INTERVAL


collector = Collector()


def progress_of(source):
    """A value that changes when memory of this pool or budget is freed, even if a waiter gets it immediately."""
    return lambda: (source.get_allocated_memory(), source.get_waiting())


class _Watch:
    """Collects for the requests on one pool or budget that wait in one loop or thread."""

    # If nothing waits, a watch continues for this many looks, because the next request may be about to wait.
    LINGER = 20

    def __init__(self, source, later):
        self.waits = {}
        self._source = source
        self._later = later
        self._idle = 0
        later(BRIEF, self._look)

    def _look(self):
        oldest = next(iter(list(self.waits.values())), None)
        delay = BRIEF
        if oldest is None:
            self._idle += 1
        else:
            self._idle = 0
            if time.monotonic() - oldest >= BRIEF:
                delay = collector.run(progress_of(self._source))
        if self._idle < self.LINGER:
            self._later(delay, self._look)
        else:
            # From now on, new requests create another watch.
            self.waits = None


# Its scheduler holds the watch, so the watch ends with its loop.
_watches = weakref.WeakValueDictionary()


class Waiting:
    """While this context is entered, garbage is collected occasionally: later(seconds, function) calls the
    function in the thread that scheduler stands for."""

    def __init__(self, source, scheduler, later):
        self._source = source
        self._key = hash(source), hash(scheduler)
        self._later = later
        self._waits = None

    def __enter__(self):
        watch = None
        while watch is None or watch.waits is not self._waits:
            watch = _watches.get(self._key)
            if watch is None or watch.waits is None:
                watch = _watches[self._key] = _Watch(self._source, self._later)
            self._waits = watch.waits
            if self._waits is not None:
                self._waits[id(self)] = time.monotonic()
        return self

    def __exit__(self, *_):
        self._waits.pop(id(self), None)
