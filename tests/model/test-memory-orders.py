#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks the memory orders of the fast paths with all executions that C11 allows.

First, the explorer itself is tested with programs whose outcomes are well known. Then come the fast paths,
with the orders in the sources: no execution may use a block before it is free, or access a pool that is gone.
Finally, each half of each order is removed: then one of the programs must fail; otherwise, the order is
stronger than necessary, and is listed."""

import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from executions import (ACQ_REL, ACQUIRE, HEAVY, LIGHT, PLAIN, RELAXED, RELEASE, Exchange, Fence, Free, Load,
                        Stop, Store, executions, thread)

SOURCES = pathlib.Path(__file__).parents[2] / "bufpool"
EXPLORED = 0


def explore(threads, initial=None, domain=None):
    global EXPLORED
    for execution in executions(threads, initial, domain):
        EXPLORED += 1
        yield execution


# ---- known programs -------------------------------------------------------------------------------

def does(*accesses):
    """A thread that performs these accesses, and returns what it has read."""

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

LOCK = "memory/buf-biased-lock"
FENCES = ("light", "heavy")
HOLDING = "memory/buf-pool-allocation-holding.c"

# Name of the call, its file and function, and the call whose order is meant.
PLACES = {
    "take": ("semaphore/buf-semaphore-private.h", "buf_semaphore_take_own_credit", r"buf_stripe_exchange \("),
    "give": ("semaphore/buf-semaphore-private.h", "buf_semaphore_give_own_credit", r"buf_stripe_exchange \("),
    "collect": ("semaphore/buf-semaphore-stripes.c", "buf_semaphore_collect_locked", r"atomic_exchange_explicit \("),
    "settle": ("semaphore/buf-semaphore-stripes.c", "buf_semaphore_settle_locked", r"atomic_compare_exchange_weak_explicit \("),
    "restore": ("semaphore/buf-semaphore-stripes.c", "buf_semaphore_restore_locked", r"atomic_store_explicit \("),
    "hold": (LOCK + "-private.h", "buf_biased_lock_take", r"atomic_compare_exchange_strong_explicit \("),
    "open": (LOCK + "-private.h", "buf_biased_lock_open", r"atomic_store_explicit \("),
    "enter": (LOCK + "-private.h", "buf_biased_lock_enter", r"atomic_store_explicit \("),
    "leave": (LOCK + "-private.h", "buf_biased_lock_leave", r"atomic_store_explicit \("),
    "bias": (LOCK + ".c", "buf_biased_lock_unlock_unbiased", r"atomic_store_explicit \("),
    "see": (LOCK + ".c", "buf_biased_lock_begin_revoke", r"atomic_load_explicit \("),
    "revoke": (LOCK + ".c", "buf_biased_lock_begin_revoke", r"atomic_compare_exchange_strong_explicit \("),
    "look": (LOCK + ".c", "buf_biased_lock_end_revoke", r"atomic_load_explicit \("),
    "keep": (LOCK + ".c", "buf_biased_lock_end_revoke", r"atomic_store_explicit \("),
    "sole owner": (HOLDING, "buf_pool_allocation_unref", r"atomic_load_explicit \("),
    "unref": (HOLDING, "drop_reference", r"atomic_compare_exchange_weak_explicit \("),
    "unhold": (HOLDING, "buf_hold_drop", r"atomic_fetch_sub_explicit \("),
}


def read_orders():
    orders = {"lock": ACQUIRE, "unlock": RELEASE, **{fence: ACQ_REL for fence in FENCES}}
    for name, (file, function, call) in PLACES.items():
        text = (SOURCES / file).read_text(encoding="utf-8")
        body = re.search(r"^%s \([^;]*?\)\n\{\n(.*?)^\}" % function, text, re.MULTILINE | re.DOTALL)[1]
        orders[name] = re.search(call + r"[^;]*?memory_order_(\w+)", body, re.DOTALL)[1]
    return orders


# ---- the fast paths -------------------------------------------------------------------------------

# A word is the credit, or REVOKED, and the number of releases, so that a thread knows whose bytes it took.
REVOKED = (-1, 0)
POOL = ("word", "mark", "mutex", "free")


def words(first, *others):
    """The initial values of a program, and the values that are expected in its locations."""
    return {"word": first}, {"word": (first, *others), "free": (0, 1), "mutex": (0, 1)}


def compare_and_swap(location, expected, value, order):
    return Exchange(location, lambda found: value if found == expected else None, order)


def lock(orders):
    """Takes immediately, or not at all: a thread that waits sees no less than one that comes later."""
    if (yield compare_and_swap("mutex", 0, 1, orders["lock"])) != 0:
        raise Stop


def unlock(orders):
    yield Store("mutex", 0, orders["unlock"])


def give(orders):
    """Frees the block, and returns its byte: buf_pool_allocation_unref, buf_semaphore_give_credit."""
    yield Store("block", "free")
    yield Load("mark", RELAXED)
    word = yield Load("word", RELAXED)
    if word[0] < 0:
        raise Stop
    found = yield compare_and_swap("word", word, (word[0] + 1, word[1] + 1), orders["give"])
    if found != word:
        raise Stop


def take(orders):
    """Takes a byte, and uses the block if it has to be this one: buf_semaphore_take_credit."""
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
    @thread("word", "mark", "mutex", "free", "block", "data", "count", "head", "share", "state", "inside", "record")
    def run():
        result = None
        for step in steps:
            result = yield from step()
        return result

    return run


def fast_to_fast(orders):
    return [program(lambda: give(orders)), program(lambda: take(orders))], *words((0, 0), (1, 1), (0, 1))


def fast_to_fast_past_another(orders):
    """The thread that takes the last byte gets it from a releaser behind another taker."""
    return [program(lambda: give(orders)), program(lambda: take(orders)), program(lambda: take(orders))], \
        *words((1, 0), (0, 0), (2, 1), (1, 1), (0, 1))


def fast_to_locked(orders):
    """One thread revokes, and another takes what the first has collected."""

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
    """Brings the stripe to a level: moves the excess to free, or takes what is missing from there."""
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
    """The released credit exceeds the level, and is taken from free."""

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
    """The stripe is revoked and restored before the byte is released and taken."""

    def restore():
        yield from lock(orders)
        yield Store("word", (0, 0), orders["restore"])
        yield from unlock(orders)

    return [program(restore), program(lambda: give(orders)), program(lambda: take(orders))], \
        *words(REVOKED, (0, 0), (1, 1), (0, 1))


def dispose(orders):
    """Finds that nothing is outstanding, and frees the pool: buf_pool_dispose."""
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
    """For an abandoned memory: the thread that finds nothing outstanding frees it: buf_semaphore_release."""

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
    """The last of two threads frees the block."""

    def use():
        yield Load("data")
        yield from unref(orders)

    return [program(use), program(use)], {"count": (2, 0)}, {"count": ((2, 0), (1, 0), (0, 0))}


def owner_and_transfer(orders):
    """What a transfer has written happens before the last user frees it, or the transfer itself is the last."""

    def transfer():
        yield Store("data", "filled")
        yield from unhold(orders)

    return [program(lambda: unref(orders)), program(transfer)], \
        {"count": (1, 1)}, {"count": ((1, 1), (1, 0), (0, 1), (0, 0))}


def two_transfers(orders):
    """The user has left, and the last of two transfers frees the block."""

    def transfer():
        yield Load("data")
        yield from unhold(orders)

    return [program(transfer), program(transfer)], {"count": (0, 2)}, {"count": ((0, 2), (0, 1), (0, 0))}


# The cache: the bit of a stripe, and what it guards: how many blocks there are, and the share.
OPEN, HELD, OWNER = 0, 1, 2  # values of "state"
STRIPE = {"state": (OPEN, HELD), "head": (0, 1)}


def hold(orders):
    """buf_biased_lock_take"""
    if (yield compare_and_swap("state", OPEN, HELD, orders["hold"])) != OPEN:
        raise Stop


def put(orders):
    """buf_pool_allocation_cache"""
    yield Store("block", "filled")
    yield from hold(orders)
    yield Store("head", (yield Load("head")) + 1)
    yield Store("state", OPEN, orders["open"])


def hit(orders):
    """buf_pool_allocation_new_cached"""
    yield from hold(orders)
    if (yield Load("head")) < 1:
        raise Stop
    yield Store("head", 0)
    yield Store("state", OPEN, orders["open"])
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
        yield Free(("state", "head"))

    return [program(lambda: put(orders)), program(close)], {}, STRIPE


def opened_in_between(orders):
    """A stripe that was closed is opened, with another share."""

    def reopen():
        yield from lock(orders)
        yield Store("share", 1)
        yield Store("state", OPEN, orders["open"])
        yield from unlock(orders)

    def look():
        yield from hold(orders)
        yield Load("share")

    return [program(reopen), program(look)], {"state": HELD}, {"state": (OPEN, HELD), "mutex": (0, 1), "share": (0, 1)}


# The same lock when it is biased. The fences can be removed like an order.
BIASED = {"state": (OPEN, HELD, OWNER), "inside": (0, 1), "data": (0, 1, 2, 3)}


def use_guarded():
    yield Store("data", (yield Load("data")) + 1)


def enter_and_leave(orders):
    """buf_biased_lock_enter, buf_biased_lock_leave"""
    if (yield Load("state", RELAXED)) != OWNER:
        raise Stop
    yield Store("inside", 1, orders["enter"])
    if orders["light"] == ACQ_REL:
        yield Fence(LIGHT)
    if (yield Load("state", RELAXED)) != OWNER:
        yield Store("inside", 0, orders["leave"])
        raise Stop
    yield from use_guarded()
    yield Store("inside", 0, orders["leave"])


def revoke_and_use(orders):
    """buf_biased_lock_revoke; the lock is open and taken then, or it is used while it is held."""
    if (yield compare_and_swap("state", OWNER, HELD, orders["revoke"])) != OWNER:
        raise Stop
    if orders["heavy"] == ACQ_REL:
        yield Fence(HEAVY)
    if (yield Load("inside", orders["look"])) == 1:
        yield Store("state", OWNER, orders["keep"])
        raise Stop
    yield from use_guarded()
    yield Store("state", OPEN, orders["open"])


def biased_and_revoked(orders):
    return [program(lambda: enter_and_leave(orders)), program(lambda: revoke_and_use(orders))], \
        {"state": OWNER}, BIASED


def left_for_another_lock(orders):
    """After the owner has left, it enters another lock, and a revocation finds it there."""

    def leave_and_enter_another():
        yield from enter_and_leave(orders)
        yield Store("inside", 2, orders["enter"])

    return [program(leave_and_enter_another), program(lambda: revoke_and_use(orders))], \
        {"state": OWNER}, {**BIASED, "inside": (0, 1, 2)}


def taken_biased_and_revoked(orders):
    def take_and_bias():
        yield from hold(orders)
        yield from use_guarded()
        yield Store("state", OWNER, orders["bias"])

    return [program(take_and_bias), program(lambda: revoke_and_use(orders))], {"state": OPEN}, BIASED


def revoked_and_taken(orders):
    def take():
        yield from hold(orders)
        yield from use_guarded()

    return [program(lambda: enter_and_leave(orders)), program(lambda: revoke_and_use(orders)), program(take)], \
        {"state": OWNER}, BIASED


def kept_and_revoked(orders):
    """The owner has used the lock without bias, and is inside now. One revocation fails, another one succeeds."""

    def bias_and_enter():
        yield from use_guarded()
        yield Store("state", OWNER, orders["bias"])
        yield Store("inside", 1, orders["enter"])
        if orders["light"] == ACQ_REL:
            yield Fence(LIGHT)
        if (yield Load("state", RELAXED)) != OWNER:
            yield Store("inside", 0, orders["leave"])

    def fail_to_revoke():
        if (yield compare_and_swap("state", OWNER, HELD, orders["revoke"])) != OWNER:
            raise Stop
        if orders["heavy"] == ACQ_REL:
            yield Fence(HEAVY)
        if (yield Load("inside", orders["look"])) == 0:
            raise Stop
        yield Store("state", OWNER, orders["keep"])

    return [program(bias_and_enter), program(fail_to_revoke), program(lambda: revoke_and_use(orders))], \
        {"state": HELD}, BIASED


def see(orders):
    """buf_biased_lock_begin_revoke looks at the record of the owner before it does anything."""
    if (yield Load("state", orders["see"])) == OWNER:
        yield Load("record")


def seen_and_looked_at(orders):
    def bias():
        yield Store("record", 1)
        yield Store("state", OWNER, orders["bias"])

    return [program(bias), program(lambda: see(orders))], {"state": HELD}, BIASED


def kept_and_looked_at(orders):
    """The state is that which another thread has stored after it failed to revoke the bias."""

    def bias():
        yield Store("record", 1)
        yield Store("state", OWNER, orders["bias"])

    def fail_to_revoke():
        if (yield compare_and_swap("state", OWNER, HELD, orders["revoke"])) == OWNER:
            yield Store("state", OWNER, orders["keep"])

    return [program(bias), program(fail_to_revoke), program(lambda: see(orders))], {"state": HELD}, BIASED


PROGRAMS = [fast_to_fast, fast_to_fast_past_another, fast_to_locked, locked_to_fast,
            fast_to_locked_by_settling, restored_in_between, last_release_fast, last_release_slow,
            last_release_of_two, two_owners, owner_and_transfer, two_transfers, put_and_hit, put_and_end,
            opened_in_between, biased_and_revoked, left_for_another_lock, taken_biased_and_revoked,
            revoked_and_taken, kept_and_revoked,
            seen_and_looked_at, kept_and_looked_at]

# Orders that are stronger than necessary: the mutex, or the word itself, is already sufficient.
SPARE = {("collect", RELEASE), ("restore", RELEASE)}


def weaken(orders):
    """Each half of each order removed: what was removed, and the remaining orders."""
    rest = {(ACQ_REL, ACQUIRE): RELEASE, (ACQ_REL, RELEASE): ACQUIRE}
    for name in FENCES:
        yield (name, "a fence"), {**orders, name: RELAXED}
    for name, order in orders.items():
        if name in FENCES:
            continue
        for half in (ACQUIRE, RELEASE):
            if order in (half, ACQ_REL):
                yield (name, half), {**orders, name: rest.get((order, half), RELAXED)}


def first_conflict(make, orders):
    """Explores all executions; returns their number, and the error in the first bad one."""
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
                    conflict or "nothing fails: it is stronger than necessary")
    print(f"# {EXPLORED} executions in all; orders: {orders}")
    print(f"1..{report.n_cases}")
    return report.failed


sys.exit(main())
