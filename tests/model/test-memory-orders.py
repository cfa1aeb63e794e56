#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Whether the memory orders of the fast paths are enough, by all executions that C11 allows.

First, the explorer itself is checked against programs whose outcomes are well known. Then come the
fast paths, with the orders as they stand in the sources: no execution may use a block before it was
free, or touch a pool that is gone. Last, each half of each order is taken away: then one of the
programs has to go wrong, or else the order is stronger than it need be, which is listed."""

import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from executions import (ACQ_REL, ACQUIRE, PLAIN, RELAXED, RELEASE, Exchange, Free, Load, Stop, Store,
                        executions, thread)

SOURCES = pathlib.Path(__file__).parents[2] / "bufpool"
EXPLORED = 0


def explore(threads, initial=None, domain=None):
    global EXPLORED
    for execution in executions(threads, initial, domain):
        EXPLORED += 1
        yield execution


# ---- what is well known ---------------------------------------------------------------------------

def does(*accesses):
    """A thread that does these, and tells what it has read."""

    @thread(*{access.location for access in accesses})
    def program():
        values = []
        for access in accesses:
            value = yield access
            if not isinstance(access, Store):
                values.append(value)
        return tuple(values)

    return program


def can_read(*wanted, last=None):
    def holds(execution):
        return [result for result in execution.results if result] == list(wanted) \
            and (last is None or all(execution.last(place) == value for place, value in last.items()))

    return holds


def race(execution):
    return execution.conflicts() is not None


def add_one(location, order):
    return Exchange(location, lambda value: value + 1, order)


def message(release, acquire, data=RELAXED):
    return [does(Store("data", 1, data), Store("flag", 1, release)),
            does(Load("flag", acquire), Load("data", data))]


def both(first, second):
    return [does(first("x"), second("y")), does(first("y"), second("x"))]


def readers(release, acquire):
    return [does(Store("x", 1, release)), does(Store("y", 1, release)),
            does(Load("x", acquire), Load("y", acquire)), does(Load("y", acquire), Load("x", acquire))]


COUNTED = {"x": range(3), "flag": range(3)}

KNOWN = [
    ("MP relaxed", message(RELAXED, RELAXED), can_read((1, 0)), True),
    ("MP release, relaxed", message(RELEASE, RELAXED), can_read((1, 0)), True),
    ("MP relaxed, acquire", message(RELAXED, ACQUIRE), can_read((1, 0)), True),
    ("MP release, acquire", message(RELEASE, ACQUIRE), can_read((1, 0)), False),
    ("SB relaxed", both(lambda x: Store(x, 1, RELAXED), lambda x: Load(x, RELAXED)),
     can_read((0,), (0,)), True),
    ("SB release, acquire", both(lambda x: Store(x, 1, RELEASE), lambda x: Load(x, ACQUIRE)),
     can_read((0,), (0,)), True),
    ("LB relaxed", both(lambda x: Load(x, RELAXED), lambda x: Store(x, 1, RELAXED)),
     can_read((1,), (1,)), True),
    ("LB acquire, release", both(lambda x: Load(x, ACQUIRE), lambda x: Store(x, 1, RELEASE)),
     can_read((1,), (1,)), False),
    ("CoRR", [does(Store("x", 1, RELAXED)), does(Load("x", RELAXED), Load("x", RELAXED))],
     can_read((1, 0)), False),
    ("CoRR of two writers", [does(Store("x", 1, RELAXED)), does(Store("x", 2, RELAXED)),
                             does(Load("x", RELAXED), Load("x", RELAXED)),
                             does(Load("x", RELAXED), Load("x", RELAXED))],
     can_read((1, 2), (2, 1)), False),
    ("CoWW", [does(Store("x", 1, RELAXED), Store("x", 2, RELAXED))], can_read(last={"x": 1}), False),
    ("CoRW", [does(Load("x", RELAXED), Store("x", 1, RELAXED))], can_read((1,)), False),
    ("CoWR", [does(Store("x", 1, RELAXED), Load("x", RELAXED)), does(Store("x", 2, RELAXED))],
     can_read((2,), last={"x": 1}), False),
    ("2+2W relaxed", both(lambda x: Store(x, 1, RELAXED), lambda x: Store(x, 2, RELAXED)),
     can_read(last={"x": 1, "y": 1}), True),
    ("2+2W release", both(lambda x: Store(x, 1, RELEASE), lambda x: Store(x, 2, RELEASE)),
     can_read(last={"x": 1, "y": 1}), True),
    ("IRIW release, acquire", readers(RELEASE, ACQUIRE), can_read((1, 0), (1, 0)), True),
    ("WRC relaxed", [does(Store("x", 1, RELAXED)), does(Load("x", RELAXED), Store("y", 1, RELAXED)),
                     does(Load("y", RELAXED), Load("x", RELAXED))], can_read((1,), (1, 0)), True),
    ("WRC release, acquire", [does(Store("x", 1, RELEASE)), does(Load("x", ACQUIRE), Store("y", 1, RELEASE)),
                              does(Load("y", ACQUIRE), Load("x", RELAXED))], can_read((1,), (1, 0)), False),
    ("ISA2 release, acquire", [does(Store("x", 1, RELAXED), Store("y", 1, RELEASE)),
                               does(Load("y", ACQUIRE), Store("z", 1, RELEASE)),
                               does(Load("z", ACQUIRE), Load("x", RELAXED))],
     can_read((1,), (1, 0)), False),
    ("two additions", [does(add_one("x", RELAXED)), does(add_one("x", RELAXED))],
     can_read((0,), (0,)), False),
    ("MP through a relaxed read-modify-write",
     [does(Store("data", 1, RELAXED), Store("flag", 1, RELEASE)), does(add_one("flag", RELAXED)),
      does(Load("flag", ACQUIRE), Load("data", RELAXED))], can_read((1,), (2, 0)), False),
    ("MP cut by a store", [does(Store("data", 1, RELAXED), Store("flag", 1, RELEASE)),
                           does(Load("flag", RELAXED), Store("flag", 2, RELAXED)),
                           does(Load("flag", ACQUIRE), Load("data", RELAXED))],
     can_read((1,), (2, 0)), True),
    ("race of plain accesses", message(RELEASE, ACQUIRE, PLAIN), race, True),
]

# ---- the orders in the sources --------------------------------------------------------------------

HOLDING = "memory/buf-pool-allocation-holding.c"

# What is called how, which file and function it is in, and the call whose order it is.
PLACES = {
    "take": ("semaphore/buf-semaphore-private.h", "buf_semaphore_take_own_credit", r"buf_stripe_exchange \("),
    "give": ("semaphore/buf-semaphore-private.h", "buf_semaphore_give_own_credit", r"buf_stripe_exchange \("),
    "collect": ("semaphore/buf-semaphore-stripes.c", "buf_semaphore_collect_locked", r"atomic_exchange_explicit \("),
    "settle": ("semaphore/buf-semaphore-stripes.c", "buf_semaphore_settle_locked", r"atomic_compare_exchange_weak_explicit \("),
    "restore": ("semaphore/buf-semaphore-stripes.c", "buf_semaphore_restore_locked", r"atomic_store_explicit \("),
    "bit": ("memory/buf-cache-private.h", "buf_cache_stripe_try", r"atomic_exchange_explicit \("),
    "drop": ("memory/buf-cache-private.h", "buf_cache_stripe_drop", r"atomic_store_explicit \("),
    "sole owner": (HOLDING, "buf_pool_allocation_unref", r"atomic_load_explicit \("),
    "unref": (HOLDING, "drop_reference", r"atomic_compare_exchange_weak_explicit \("),
    "unhold": (HOLDING, "buf_hold_drop", r"atomic_fetch_sub_explicit \("),
}


def read_orders():
    orders = {"lock": ACQUIRE, "unlock": RELEASE}
    for name, (file, function, call) in PLACES.items():
        text = (SOURCES / file).read_text(encoding="utf-8")
        body = re.search(r"^%s \([^;]*?\)\n\{\n(.*?)^\}" % function, text, re.MULTILINE | re.DOTALL)[1]
        orders[name] = re.search(call + r"[^;]*?memory_order_(\w+)", body, re.DOTALL)[1]
    return orders


# ---- the fast paths -------------------------------------------------------------------------------

# A word is the credit, or REVOKED, and how often was given: so that a thread knows whose bytes it took.
REVOKED = (-1, 0)
POOL = ("word", "mark", "mutex", "free")


def words(first, *others):
    """How a program begins, and what is expected in its locations then."""
    return {"word": first}, {"word": (first, *others), "free": (0, 1), "mutex": (0, 1)}


def compare_and_swap(location, expected, value, order):
    return Exchange(location, lambda found: value if found == expected else None, order)


def lock(orders):
    """Taken at once, or not at all: one who waits for it sees no less than one who comes then."""
    if (yield compare_and_swap("mutex", 0, 1, orders["lock"])) != 0:
        raise Stop


def unlock(orders):
    yield Store("mutex", 0, orders["unlock"])


def give(orders):
    """Frees the block, and gives its byte: buf_pool_allocation_unref, buf_semaphore_give_credit."""
    yield Store("block", "free")
    yield Load("mark", RELAXED)
    word = yield Load("word", RELAXED)
    if word[0] < 0:
        raise Stop
    found = yield compare_and_swap("word", word, (word[0] + 1, word[1] + 1), orders["give"])
    if found != word:
        raise Stop


def take(orders):
    """Takes a byte, and uses the block if it has to be that one: buf_semaphore_take_credit."""
    word = yield Load("word", RELAXED)
    if word[0] < 1:
        raise Stop
    found = yield compare_and_swap("word", word, (word[0] - 1, word[1]), orders["take"])
    if found != word:
        raise Stop
    if word == (1, 1):
        yield Store("block", "used")


def collect(orders, left):
    """collect_locked"""
    word = yield Exchange("word", lambda found: (left if found[0] >= 0 else None), orders["collect"])
    if word[0] < 0:
        raise Stop
    free = yield Load("free")
    yield Store("free", free + word[0])
    return free + word[0]


def take_free(free):
    if free < 1:
        raise Stop
    yield Store("free", free - 1)
    yield Store("block", "used")


def program(*steps):
    @thread("word", "mark", "mutex", "free", "block", "data", "count", "bit", "head", "share")
    def run():
        result = None
        for step in steps:
            result = yield from step()
        return result

    return run


def fast_to_fast(orders):
    return [program(lambda: give(orders)), program(lambda: take(orders))], *words((0, 0), (1, 1), (0, 1))


def fast_to_fast_past_another(orders):
    """The one who takes the last byte has it from a giver behind another taker."""
    return [program(lambda: give(orders)), program(lambda: take(orders)), program(lambda: take(orders))], \
        *words((1, 0), (0, 0), (2, 1), (1, 1), (0, 1))


def fast_to_locked(orders):
    """One revokes, and another takes what it has collected."""

    def revoke():
        yield from lock(orders)
        yield from collect(orders, REVOKED)
        yield from unlock(orders)

    def acquire():
        yield from lock(orders)
        yield from take_free((yield Load("free")))
        yield from unlock(orders)

    return [program(lambda: give(orders)), program(revoke), program(acquire)], \
        *words((0, 0), (1, 1), REVOKED)


def settle(orders, level):
    """Brings the stripe to a level, and what is above to free, or what lacks from there."""
    free = yield Load("free")
    word = yield Load("word", RELAXED)
    target = min(level, word[0] + free)
    found = yield compare_and_swap("word", word, (target, word[1] + 1), orders["settle"])
    if found != word or word[0] < 0:
        raise Stop
    yield Store("free", free + word[0] - target)


def locked_to_fast(orders):
    """A slow release refills the stripe, and another takes from there."""

    def release():
        yield Store("block", "free")
        yield from lock(orders)
        yield Store("free", (yield Load("free")) + 1)
        yield from settle(orders, 1)
        yield from unlock(orders)

    return [program(release), program(lambda: take(orders))], *words((0, 0), (1, 1), (0, 1))


def fast_to_locked_by_settling(orders):
    """What was given is above the level, and is taken from free."""

    def spill():
        yield from lock(orders)
        yield from settle(orders, 0)
        yield from unlock(orders)

    def acquire():
        yield from lock(orders)
        yield from take_free((yield Load("free")))
        yield from unlock(orders)

    return [program(lambda: give(orders)), program(spill), program(acquire)], \
        *words((0, 0), (1, 1), (0, 1), (1, 2), (0, 2))


def restored_in_between(orders):
    """The stripe was revoked, and is given back, before the byte is given and taken."""

    def restore():
        yield from lock(orders)
        yield Store("word", (0, 0), orders["restore"])
        yield from unlock(orders)

    return [program(restore), program(lambda: give(orders)), program(lambda: take(orders))], \
        *words(REVOKED, (0, 0), (1, 1), (0, 1))


def dispose(orders):
    """Sees that everything is back, and frees the pool: buf_pool_dispose."""
    yield from lock(orders)
    word = yield Exchange("word", lambda found: REVOKED, orders["collect"])
    free = (yield Load("free")) + max(word[0], 0)
    yield from unlock(orders)
    if free != 1:
        raise Stop
    yield Free(POOL)


def last_release_fast(orders):
    return [program(lambda: give(orders)), program(lambda: dispose(orders))], *words((0, 0), (1, 1), REVOKED)


def last_release_slow(orders):
    def release():
        word = yield Load("word", RELAXED)
        if word[0] >= 0:
            raise Stop
        yield from lock(orders)
        yield Store("free", (yield Load("free")) + 1)
        yield from unlock(orders)

    return [program(release), program(lambda: dispose(orders))], *words(REVOKED)


def last_release_of_two(orders):
    """Of an abandoned memory: who sees that everything is back frees it: buf_semaphore_release."""

    def release():
        yield from lock(orders)
        free = (yield Load("free")) + 1
        yield Store("free", free)
        yield from unlock(orders)
        if free == 2:
            yield Free(POOL)

    return [program(release), program(release)], {"word": REVOKED}, {"free": range(3), "mutex": (0, 1)}


# The word of an allocation: references and holds.

def unref(orders):
    """buf_pool_allocation_unref, drop_reference"""
    word = yield Load("count", orders["sole owner"])
    if word != (1, 0):
        word = yield Exchange("count", lambda found: (found[0] - 1, found[1]), orders["unref"])
    if word == (1, 0):
        yield Store("data", "free")


def unhold(orders):
    """buf_hold_drop"""
    word = yield Exchange("count", lambda found: (found[0], found[1] - 1), orders["unhold"])
    if word == (0, 1):
        yield Store("data", "free")


def two_owners(orders):
    """The last of two frees the block."""

    def use():
        yield Load("data")
        yield from unref(orders)

    return [program(use), program(use)], {"count": (2, 0)}, {"count": ((2, 0), (1, 0), (0, 0))}


def owner_and_transfer(orders):
    """What a transfer has written is there before the last user frees it, or it is itself the last."""

    def transfer():
        yield Store("data", "filled")
        yield from unhold(orders)

    return [program(lambda: unref(orders)), program(transfer)], \
        {"count": (1, 1)}, {"count": ((1, 1), (1, 0), (0, 1), (0, 0))}


def two_transfers(orders):
    """The user is gone, and the last of two transfers frees the block."""

    def transfer():
        yield Load("data")
        yield from unhold(orders)

    return [program(transfer), program(transfer)], {"count": (0, 2)}, {"count": ((0, 2), (0, 1), (0, 0))}


# The cache: the bit of a stripe, and what it guards: how many blocks there are, and the share.
STRIPE = {"bit": (0, 1), "head": (0, 1)}


def hold(orders):
    """buf_cache_stripe_try"""
    if (yield Exchange("bit", lambda found: 1, orders["bit"])) != 0:
        raise Stop


def put(orders):
    """buf_pool_allocation_cache"""
    yield Store("block", "filled")
    yield from hold(orders)
    yield Store("head", (yield Load("head")) + 1)
    yield Store("bit", 0, orders["drop"])


def hit(orders):
    """buf_pool_allocation_new_cached"""
    yield from hold(orders)
    if (yield Load("head")) < 1:
        raise Stop
    yield Store("head", 0)
    yield Store("bit", 0, orders["drop"])
    yield Store("block", "used")


def put_and_hit(orders):
    return [program(lambda: put(orders)), program(lambda: hit(orders))], {}, STRIPE


def put_and_end(orders):
    """The stripe is closed, the block is freed, and with its bytes the pool may go."""

    def close():
        yield from hold(orders)
        if (yield Load("head")) < 1:
            raise Stop
        yield Store("block", "free")
        yield Free(("bit", "head"))

    return [program(lambda: put(orders)), program(close)], {}, STRIPE


def opened_in_between(orders):
    """A stripe that was closed is opened, with another share."""

    def reopen():
        yield from lock(orders)
        yield Store("share", 1)
        yield Store("bit", 0, orders["drop"])
        yield from unlock(orders)

    def look():
        yield from hold(orders)
        yield Load("share")

    return [program(reopen), program(look)], {"bit": 1}, {"bit": (0, 1), "mutex": (0, 1), "share": (0, 1)}


PROGRAMS = [fast_to_fast, fast_to_fast_past_another, fast_to_locked, locked_to_fast,
            fast_to_locked_by_settling, restored_in_between, last_release_fast, last_release_slow,
            last_release_of_two, two_owners, owner_and_transfer, two_transfers, put_and_hit, put_and_end,
            opened_in_between]

# Orders that are stronger than they need be: the mutex, or the word itself, does it already.
SPARE = {("collect", RELEASE), ("restore", RELEASE)}


def weaken(orders):
    """Each half of each order taken away: what was taken, and the orders then."""
    rest = {(ACQ_REL, ACQUIRE): RELEASE, (ACQ_REL, RELEASE): ACQUIRE}
    for name, order in orders.items():
        for half in (ACQUIRE, RELEASE):
            if order in (half, ACQ_REL):
                yield (name, half), {**orders, name: rest.get((order, half), RELAXED)}


def first_conflict(make, orders):
    """Looks at all executions; returns how many, and what went wrong in the first bad one."""
    number, conflict = 0, None
    for execution in explore(*make(orders)):
        number += 1
        conflict = conflict or execution.conflicts()
    return number, conflict


def search_conflict(orders):
    for make in PROGRAMS:
        for execution in explore(*make(orders)):
            if conflict := execution.conflicts():
                return f"{make.__name__}: {conflict}"
    return None


class Report:
    def __init__(self):
        self.n_cases, self.failed = 0, False

    def case(self, passed, name, comment=None):
        self.n_cases += 1
        self.failed |= not passed
        if comment:
            print("#", comment)
        print("ok" if passed else "not ok", self.n_cases, name.replace("_", " "), flush=True)


def main():
    report = Report()
    orders = read_orders()
    for name, threads, outcome, allowed in KNOWN:
        found = any([outcome(execution) for execution in explore(threads, domain=COUNTED)])
        report.case(found == allowed, f"known: {name} is {'allowed' if allowed else 'forbidden'}")

    for make in PROGRAMS:
        number, conflict = first_conflict(make, orders)
        report.case(number > 0 and conflict is None, make.__name__, conflict or f"{number} executions")

    for taken, weaker in weaken(orders):
        conflict = search_conflict(weaker)
        report.case((conflict is None) == (taken in SPARE), f"{taken[0]} without {taken[1]}",
                    conflict or "nothing goes wrong: it is stronger than it need be")
    print(f"# {EXPLORED} executions in all; orders: {orders}")
    print(f"1..{report.n_cases}")
    return report.failed


sys.exit(main())
