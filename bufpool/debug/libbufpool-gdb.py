# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""GDB support for buffer pools. GDB loads this file with the library, if it is allowed to: see "help bufpool"."""

import re
import time

import gdb
import gdb.printing

CREDIT_BITS = 40
REVOKED = 1 << (CREDIT_BITS - 1)
INDENT = "    "


def pointer_to(type_name, value):
    return value.cast(gdb.lookup_type(type_name).pointer())


def each_in_queue(queue, type_name):
    """The elements of a GQueue."""
    link = queue["head"]
    while int(link) != 0:
        yield pointer_to(type_name, link["data"])
        link = link["next"]


def each_stripe(semaphore):
    """The credit and count of each stripe in use, or None if it is revoked."""
    for i in range(int(semaphore["mask"]) + 1):
        word = int(semaphore["stripes"][i]["word"])
        credit = word & ((1 << CREDIT_BITS) - 1)
        yield None if credit >= REVOKED else (credit, word >> CREDIT_BITS)


def count(number, thing):
    return f"{int(number)} {thing}" + ("" if int(number) == 1 else "s")


def name_of(memory):
    return f'"{memory["name"].string()}"' if int(memory["name"]) != 0 else "without a name"


def is_alive():
    """Returns whether there is a process with a running clock, and not only a core file."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    return connection is not None and connection.type != "core"


def describe_since(microseconds):
    if is_alive():
        return f"for {time.monotonic() - int(microseconds) / 1e6:.3f} s"
    return f"since {int(microseconds) / 1e6:.3f} s of the monotonic clock"


def describe_thread(thread_id):
    """Describes a thread by its GDB number, if it is still running."""
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == int(thread_id):
            return f"thread {thread.num} (LWP {int(thread_id)})"
    return f"LWP {int(thread_id)}"


def describe_frame(address):
    """Returns the function and the line of a call, and whether it is in the library."""
    call = int(address) - 1
    place = gdb.find_pc_line(call)
    block = gdb.block_for_pc(call)
    while block is not None and block.function is None:
        block = block.superblock
    if block is None:
        symbol = gdb.execute(f"info symbol {call:#x}", to_string=True).strip()
        return symbol.split(" in section ")[0] if not symbol.startswith("No symbol") else hex(call), False

    if place.symtab is None:
        return block.function.name, False
    file = place.symtab.filename.split("/")[-1]
    return f"{block.function.name} ({file}:{place.line})", re.search(r"bufpool/(\w+/)?buf-", place.symtab.filename) is not None


def count_cached(memory):
    """The bytes and the number of the blocks that the pool caches, or is about to free. Idle blocks are not among
    them: their bytes are free."""
    semaphore, control = memory["semaphore"], memory["control"]
    n_bytes = int(semaphore["returning"])
    n_blocks = int(semaphore["n_returning"])
    if not int(control["depot_is_idle"]):
        n_bytes += int(control["depot"]["bytes"])
        n_blocks += int(control["depot"]["n_blocks"])
    for i in range(int(memory["control"]["n_stripes"])):
        stripe = memory["cache"]["stripes"][i]
        magazines = stripe["magazines"]
        n_bytes += int(stripe["bytes"])
        n_blocks += sum(int(magazines[j]["count"]) for j in range(magazines.type.range()[1] + 1))
    return n_bytes, n_blocks


class Figures:
    """The figures of a pool. In a running program, which may be in the middle of a change, they may not add
    up."""

    def __init__(self, memory):
        self.semaphore = memory["semaphore"]
        self.level = self.semaphore["level"]
        self.stripes = list(each_stripe(self.semaphore))
        live = [stripe for stripe in self.stripes if stripe is not None]
        self.maximum = int(self.level["maximum"])
        self.free = int(self.level["free"])
        self.in_stripes = sum(credit for credit, _ in live)
        self.cached, n_cached = count_cached(memory)
        self.in_use = self.maximum - self.free - self.in_stripes - self.cached
        self.n_allocations = int(self.level["n_allocations"]) + sum(count for _, count in live) - n_cached
        self.n_waiting = int(self.level["n_waiting"])

    def __str__(self):
        return (
            f"{count(self.n_allocations, 'allocation')} with {self.in_use} of {count(self.maximum, 'byte')}, "
            f"{count(self.n_waiting, 'request')} {'is waiting' if self.n_waiting == 1 else 'are waiting'}"
        )


def print_budget(figures):
    semaphore = figures.semaphore
    idle = f" ({semaphore['level']['idle']} idle)" if int(semaphore["level"]["idle"]) > 0 else ""
    print(
        f"  budget: {count(figures.maximum, 'byte')} = {figures.in_use} in use + {figures.free} free{idle} "
        f"+ {figures.in_stripes} in stripes + {figures.cached} cached; {int(semaphore['level']['pinned'])} pinned"
    )
    states = {"closed": semaphore["level"], "revoked": semaphore["level"], "abandoned": semaphore}
    words = [word for word, place in states.items() if int(place[word])]
    print(f"  state: {', '.join(words) or 'open'}; threads inside: {int(semaphore['n_inside'])}")


def print_stripes(figures):
    print(f"  stripes: {len(figures.stripes)} of {int(figures.semaphore['n_stripes'])}")
    for i, stripe in enumerate(figures.stripes):
        print(f"{INDENT}{i}: " + ("revoked" if stripe is None else f"credit {stripe[0]}, count {stripe[1]}"))


def print_waiters(figures):
    print(f"  waiting: {figures.n_waiting}")
    for waiter in each_in_queue(figures.level["waiters"], "BufWaiter"):
        kind = "in" if int(waiter["complete"]) == 0 else "a task, requested by"
        print(
            f"{INDENT}{count(waiter['want']['bytes'], 'byte')}, {kind} {describe_thread(waiter['thread_id'])}, "
            f"{describe_since(waiter['since'])}, overtaken {count(waiter['overtaken'], 'time')}"
            + ("" if str(waiter["state"]) == "BUF_WAITER_ASLEEP" else ", woken")
        )

    print(f"  draining: {int(figures.level['drainers']['length'])}")
    for waiter in each_in_queue(figures.level["drainers"], "BufWaiter"):
        what = "plain allocations" if int(waiter["spares_pinned"]) else "allocations"
        print(f"{INDENT}{describe_thread(waiter['thread_id'])}, until all {what} are freed, {describe_since(waiter['since'])}")


def print_stack(stack):
    frames = [describe_frame(stack["frames"][i]) for i in range(int(stack["n_frames"]))]
    while len(frames) > 1 and frames[0][1]:
        del frames[0]
    for frame, _ in frames:
        print(f"{INDENT}  {frame}")


def print_outstanding(memory, figures):
    print(f"  outstanding: {figures.n_allocations}")
    if int(memory["ledger"]) == 0:
        if figures.n_allocations > 0:
            print(f"{INDENT}BUFPOOL_DEBUG=leaks records where they were made, if it is set when the program starts")
        return

    for record in each_in_queue(memory["ledger"]["records"], "BufDebugRecord"):
        origin = record["origin"]
        print(
            f"{INDENT}{count(record['size'], 'byte')} at {int(record['data']):#x}, by "
            f"{describe_thread(origin['thread_id'])} \"{origin['thread'].string()}\", "
            f"{describe_since(origin['since'])}"
        )
        print_stack(origin["stack"])


def print_memory(memory):
    figures = Figures(memory)
    owner = int(memory["owner"])
    place = f"at {owner:#x}" if owner != 0 else "that is gone"
    print(f"Pool {name_of(memory)} {place}, buffers of {count(memory['buffer_size'], 'byte')}")
    print_budget(figures)
    print_stripes(figures)
    print_waiters(figures)
    print_outstanding(memory, figures)


def is_below(semaphore, other):
    """Returns whether a semaphore is the other one, or a descendant of it."""
    while int(semaphore) != 0 and int(semaphore) != int(other):
        semaphore = semaphore["parent"]
    return int(semaphore) != 0


class Tree:
    """The budgets of a program, and the pools below them."""

    def __init__(self, cores, memories):
        self.cores = cores
        self.memories = memories

    def _children(self, things, parent):
        return [thing for thing in things if int(thing["semaphore"]["parent"]) == parent]

    def _describe(self, core):
        semaphore = core["semaphore"]
        level = semaphore["level"]
        live = [stripe for stripe in each_stripe(semaphore) if stripe is not None]
        address = semaphore.address
        cached = sum(count_cached(m)[0] for m in self.memories if is_below(m["semaphore"].address, address))
        free = int(level["free"]) + sum(credit for credit, _ in live) + cached
        waiting = int(level["n_waiting"])
        return (
            f"Budget {name_of(core)}: {int(level['maximum']) - free} of {count(level['maximum'], 'byte')} in use, "
            f"{int(level['reserved'])} reserved, {count(waiting, 'request')} {'is waiting' if waiting == 1 else 'are waiting'}"
        )

    def _print_below(self, parent, indent):
        for core in self._children(self.cores, parent):
            print(indent + self._describe(core))
            address = int(core["semaphore"].address)
            for memory in self._children(self.memories, address):
                print(f"{indent}  Pool {name_of(memory)}: {Figures(memory)}")
            self._print_below(address, indent + "  ")

    def print(self):
        self._print_below(0, "")


class BufPoolCommand(gdb.Command):
    """Show the state of buffer pools: bufpool [EXPRESSION]

Without an argument, it shows the budgets of the program, each with the pools and the budgets below it,
and then every pool, including pools that are gone but still have allocations. With an argument, it shows
the pool that the expression points to. For each pool:

  budget       how much is in use, free, in stripes and cached, in bytes; for idle bytes, the pool still has blocks
  state        closed; revoked: every request and release takes the lock; abandoned: the pool is
               gone, and the state it shares with its allocations is freed with the last of them
  stripes      the credit of each, and its count of allocations, minus those released to it
  waiting      requests in their order: bytes, thread, time, number of overtakings, and whether the
               thread has been woken
  draining     threads that wait until nothing is outstanding, such as at the end of a pool
  outstanding  allocations; with BUFPOOL_DEBUG=leaks each one with its size and call stack

The command only reads memory, so it also works on the core file of a program. A core file has no clock:
it shows when a wait began, not how long ago. The command needs the debug information of libbufpool."""

    def __init__(self):
        super().__init__("bufpool", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, _from_tty):
        try:
            gdb.lookup_type("struct _BufPool")
            all_memories = gdb.parse_and_eval("'buf-memory.c'::all_memories")
        except gdb.error as error:
            raise gdb.GdbError(
                f"There is no debug information of libbufpool, or the library is not loaded yet ({error})."
            ) from error

        if argument:
            print_memory(pointer_to("struct _BufPool", gdb.parse_and_eval(argument))["memory"])
            return
        memories = list(each_in_queue(all_memories, "BufMemory"))
        all_budgets = gdb.parse_and_eval("'buf-budget.c'::all_budgets")
        Tree(list(each_in_queue(all_budgets, "BufBudgetCore")), memories).print()
        if not memories:
            print("There are no pools.")
        for memory in memories:
            print_memory(memory)


class PoolPrinter:
    """Prints a pool in one line. To see the fields of the structure, use print /r."""

    def __init__(self, pool):
        self.pool = pool

    def to_string(self):
        memory = self.pool["memory"]
        return f"BufPool {name_of(memory)}: {Figures(memory)}"


BufPoolCommand()
printers = gdb.printing.RegexpCollectionPrettyPrinter("libbufpool")
printers.add_printer("BufPool", "^_BufPool$", PoolPrinter)
gdb.printing.register_pretty_printer(gdb.current_objfile(), printers, replace=True)
