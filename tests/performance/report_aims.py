# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The aims, and whether they were reached: all of it from the figures."""

import math

POOL = "libbufpool"
FOREIGN = ["GstBufferPool", "naive"]


def best_and_worst(ratios):
    """Of {case: ratio}: what to say about the worst one."""
    case = max(ratios, key=ratios.get)
    return ratios[case], f"{case}; from {min(ratios.values()):.2f} to {ratios[case]:.2f}"


def compare(figures, program, cases, other, quantity="time", inverse=False, who=POOL):
    """How many times the other it has in each case, or with inverse the other way round."""
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

    at_most("latency, one thread", "≤ 1.25 × the floor", 1.25, compare(figures, "latency", plain, "floor"))
    at_most(
        "latency, each page touched",
        "≤ 1.25 × the floor",
        1.25,
        compare(figures, "latency", [case for case in latency if is_touched(case)], "floor"),
    )
    scaling, floor = (scale_to_two_threads(figures, who) for who in (POOL, "floor"))
    aims.append(
        ("contention, 2 threads", "≥ 1.9 × one thread", scaling, f"the floor: {floor:.2f}", scaling >= 1.9)
    )
    for other in FOREIGN:
        for program, cases, quantity in (
            ("latency", plain, "time"),
            ("contention", figures.cases("contention"), "throughput"),
        ):
            ratios, floor = (
                compare(figures, program, cases, other, quantity, quantity == "time", who) for who in (POOL, "floor")
            )
            at_least(f"{program}, against {other}", "≥ 7 × faster", 7, ratios, floor)
    at_most(
        "pipeline", "≤ 1.5 × malloc", 1.5, compare(figures, "pipeline", figures.cases("pipeline"), "malloc")
    )
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
    return aims
