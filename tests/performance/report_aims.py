# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The aims, and whether they were reached, computed from the figures."""

import math

POOL = "libbufpool"
# The factors by which libbufpool should be faster than these.
FOREIGN = {"GstBufferPool": 8, "naive": 7}
MEMPOOL = "rte_mempool"
# The measurement that shows whether two threads can be twice as fast on this machine.
SCALES = "floor"
# In MiB, for a limit of 64 MiB.
MOST_RESIDENT = 1.25 * 64 + 4
MOST_LEFT = 8


def best_and_worst(ratios):
    """For {case: ratio}, describes the worst one."""
    case = max(ratios, key=ratios.get)
    return ratios[case], f"{case}; from {min(ratios.values()):.2f} to {ratios[case]:.2f}"


def compare(figures, program, cases, other, quantity="time", inverse=False, who=POOL):
    """The ratio to the other one in each case, or its inverse."""
    ratios = {}
    for case in cases:
        if other not in figures.subjects(program, case):
            continue
        ours, theirs = (figures.median(program, case, subject, quantity) for subject in (who, other))
        if ours is None:
            ratios[case] = 0 if quantity == "throughput" or inverse else math.inf
        elif theirs is not None:
            ratios[case] = theirs / ours if inverse else ours / theirs
    return ratios


def scale_to_two_threads(figures, who):
    one, two = (figures.median("contention", f"{n} threads", who, "throughput") for n in (1, 2))
    return two / one


def is_touched(case):
    return case.endswith("touched")


def add_aims_of_kept_blocks(figures, at_most):
    program = "kept-blocks"

    def median(case, subject, quantity="time"):
        return figures.median(program, case, subject, quantity)

    small = median("64 B", "malloc")
    sizes = [case for case in figures.cases(program) if case.endswith("B")]
    aligned = [case for case in sizes if "aligned" in figures.subjects(program, case)]
    at_most("latency, aligned to 4096", "≤ 0.9 × malloc of 64 B", 0.9,
            {case: median(case, "aligned") / small for case in aligned})
    at_most("latency, pinned", "≤ 2 × plain", 2, {case: median(case, "pinned") / median(case, "plain") for case in sizes})
    case = "sizes at random"
    at_most(case, "≤ 1 × with nothing kept", 1, {case: median(case, "plain") / median(case, "plain, nothing kept")})
    at_most("frames", "≤ 1.1 × a kept buffer", 1.1, {"frames": median("frames", "plain") / median("frames", "a kept buffer")})
    case = "resident memory"
    at_most("resident, limit of 64 MiB", f"≤ {MOST_RESIDENT:.0f} MiB", MOST_RESIDENT, {case: median(case, "plain", "peak")})
    at_most("resident after trimming", f"≤ {MOST_LEFT} MiB", MOST_LEFT,
            {case: median(case, "plain", "left after buf_pool_trim_all()")})


def add_aims_of_aligned(figures, at_most):
    """Blocks of 64 bytes cannot be aligned to a page."""
    def add(program, other, limit, cases):
        name = f"{program}, aligned"
        if figures.has(name) and other in figures.subjects(name):
            at_most(f"{name}, against {other}", f"≤ {limit} × {other}", limit,
                    compare(figures, name, [case for case in figures.cases(name) if cases(case)], other))

    def is_untouched_page(case):
        return not case.endswith("64 B") and not is_touched(case)

    def is_page(case):
        return not case.endswith("64 B")

    add("latency", "GstBufferPool", 1 / 8, is_untouched_page)
    add("latency", MEMPOOL, 1.4, is_untouched_page)
    add("pipeline", "GstBufferPool", 0.3, is_page)
    add("pipeline", "malloc", 0.1, is_page)
    add("pipeline", MEMPOOL, 2.5, is_page)


def add_aims_of_budgets(figures, at_most):
    separate, shared = "four separate pools", "four pools in one budget"
    cases = [case for case in figures.cases("levels") if separate in figures.subjects("levels", case)]
    at_most(shared, "≤ 1.3 × separate pools", 1.3,
            compare(figures, "levels", cases, separate, "throughput", True, who=shared))


def add_aims_of_streams(figures, at_least):
    for other, limit in (("g_output_stream_splice", 1), ("read and write", 0.91)):
        cases = [case for case in figures.cases("streams") if other in figures.subjects("streams", case)]
        at_least(f"streams, against {other}", f"≥ {limit} × the throughput", limit,
                 compare(figures, "streams", cases, other, "throughput", who="buf_reader_splice"))


def get_aims(figures):
    """Rows of: workload, aim, figure, where, reached."""
    latency = figures.cases("latency")
    plain = [case for case in latency if not is_touched(case)]
    aims = []

    def at_most(workload, aim, limit, ratios):
        worst, where = best_and_worst(ratios)
        aims.append((workload, aim, worst, where, worst <= limit))

    def at_least(workload, aim, limit, ratios, floor=None):
        if not ratios:
            return
        case = min(ratios, key=ratios.get)
        where = f"{case}; from {ratios[case]:.2f} to {max(ratios.values()):.2f}"
        if floor is not None:
            where += f"; the floor: {floor[case]:.2f}"
        aims.append((workload, aim, ratios[case], where, ratios[case] >= limit))

    def against(program, cases, other, limit, quantity="time"):
        if other in figures.subjects(program):
            at_most(f"{program}, against {other}", f"≤ {limit} × {other}", limit,
                    compare(figures, program, cases, other, quantity))

    small = figures.median("latency", "1 × 64 B", "malloc")
    at_most("latency, every size", "≤ 0.9 × malloc of 64 B", 0.9,
            {case: figures.median("latency", case, POOL) / small for case in plain})
    against("latency", plain, MEMPOOL, 1.4)
    touched = [case for case in latency if is_touched(case)]
    at_most("latency, each page touched", "≤ 1.25 × the floor", 1.25, compare(figures, "latency", touched, "floor"))
    scaling, other = (scale_to_two_threads(figures, who) for who in (POOL, SCALES))
    limit = min(1.9, other)
    aims.append(
        ("contention, 2 threads", f"≥ {limit:.2f} × one thread", scaling, f"{SCALES}: {other:.2f}", scaling >= limit)
    )
    for other, factor in FOREIGN.items():
        if other not in figures.subjects("latency"):
            continue
        for program, cases, quantity in (
            ("latency", plain, "time"),
            ("contention", figures.cases("contention"), "throughput"),
        ):
            ratios = compare(figures, program, cases, other, quantity, quantity == "time")
            at_least(f"{program}, against {other}", f"≥ {factor} × faster", factor, ratios)
    pipeline = figures.cases("pipeline")
    against("pipeline", pipeline, "GstBufferPool", 0.3)
    against("pipeline", [case for case in pipeline if not case.endswith("64 B")], "malloc", 0.1)
    against("pipeline", pipeline, MEMPOOL, 2.5)
    add_aims_of_kept_blocks(figures, at_most)
    saturation = figures.cases("saturation")
    at_least(
        "saturation, against naive",
        "≥ 5 × the throughput",
        5,
        compare(figures, "saturation", saturation, "naive", "throughput"),
    )
    at_least(
        "saturation, against careful",
        "≥ 1 × the throughput",
        1,
        compare(figures, "saturation", saturation, "careful", "throughput"),
    )
    at_least(
        "saturation, fairness over a second",
        "≥ 0.95 (Jain)",
        0.95,
        {case: figures.median("saturation", case, POOL, "fairness") for case in saturation},
    )
    bound = int(figures.machine("saturation")["bound of overtaking"])
    at_most(
        "saturation, most overtaken",
        f"bounded by {bound}",
        bound,
        {case: figures.get("saturation", case, POOL, "most overtaken")["maximum"] for case in saturation},
    )
    for case in figures.cases("wake-up"):
        at_most(f"wake-up, {case}", "≤ 1.3 × a bare futex", 1.3, compare(figures, "wake-up", [case], "futex"))
    overhead = {
        case: figures.median("memory", case, POOL, "overhead")
        for case in figures.cases("memory")
        if case.endswith(" B")
    }
    at_most("memory, beyond malloc", "≤ 16 bytes", 16, overhead)
    add_aims_of_aligned(figures, at_most)
    add_aims_of_budgets(figures, at_most)
    add_aims_of_streams(figures, at_least)
    return aims
