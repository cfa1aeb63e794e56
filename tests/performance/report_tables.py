# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The tables of docs/performance.md."""

import re

from report_aims import POOL, get_aims

UNFINISHED = "did not finish"


def is_number(text):
    return str(text) == UNFINISHED or str(text)[:1] in "-0123456789"


def table(head, rows):
    """Number columns are right-aligned; the first column names the row."""
    rule = ["---:" if i > 0 and all(is_number(row[i]) for row in rows) else "---" for i in range(len(head))]
    lines = [head, rule] + rows
    text = "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
    return re.sub(r"(?<![\d.,])1 threads\b", "1 thread", text)


def number(value):
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(figures, program, case, subject, quantity="time"):
    figure = figures.get(program, case, subject, quantity)
    if figure is None:
        return UNFINISHED
    if figures.is_unfinished(program, case, subject):
        return f"{number(figure['median'])} ({len(figure['samples'])} of {figures.programs[program]['runs']} runs)"
    return number(figure["median"])


def grid(figures, program, cases, quantity="time", first=""):
    """A row for each subject, a column for each case."""
    subjects = figures.subjects(program)
    rows = [
        [subject] + [cell(figures, program, case, subject, quantity) for case in cases]
        for subject in subjects
        if all(subject in figures.subjects(program, c) or figures.is_unfinished(program, c, subject) for c in cases)
    ]
    return table([first] + cases, rows)


def write_aims(figures):
    rows = [
        [workload, aim, number(value), where, "reached" if reached else "**missed**"]
        for workload, aim, value, where, reached in get_aims(figures)
    ]
    head = ["workload", "aim", "measured", "worst case", ""]
    return table(head, rows)


def write_machine(figures):
    machine = {key: text for key, text in figures.machine("latency").items() if not key.startswith("peer: ")}
    for language in ("python", "javascript"):
        if figures.has(language):
            machine.update(figures.machine(language))
    if "GJS" in machine:
        version = int(machine["GJS"])  # such as 17402 for 1.74.2
        machine["GJS"] = f"{version // 10000}.{version // 100 % 100}.{version % 100}"
    return table(["", ""], [[key, text] for key, text in machine.items() if key != "allocator"])


def write_spread(figures):
    rows = [
        [program, figures.programs[program]["runs"], "" if spread is None else f"{spread * 100:.1f} %"]
        for program in figures.programs
        for spread in [figures.get_spread(program)]
        if program != "counting"
    ]
    return table(["program", "runs", "spread"], rows)


def write_peers(figures):
    rows = []
    for key, text in figures.machine("latency").items():
        if key.startswith("peer: "):
            budget, waits, fair, any_size, version, remark = text.split("|")
            rows.append([f"{key[6:]} {version}".strip(), budget, waits, fair, any_size, remark])
    return table(["", "limit", "waits asleep", "fair", "any size", ""], rows)


def write_latency(figures):
    cases = figures.cases("latency")
    return grid(figures, "latency", [case for case in cases if not case.endswith("touched")], first="ns")


def write_touched(figures):
    cases = [case for case in figures.cases("latency") if case.endswith("touched")]
    return grid(figures, "latency", cases, first="ns")


def write_contention(figures):
    return grid(figures, "contention", figures.cases("contention"), "throughput", "million/s")


def write_pipeline(figures):
    return grid(figures, "pipeline", figures.cases("pipeline"), first="ns")


def write_kinds(figures):
    """A row for each kind of request; aligned blocks have no small sizes."""
    cases = [case for case in figures.cases("kept-blocks") if case.endswith("B")]
    rows = []
    for subject in figures.subjects("kept-blocks", cases[-1]):
        cells = [cell(figures, "kept-blocks", c, subject) if subject in figures.subjects("kept-blocks", c) else "" for c in cases]
        rows.append([subject] + cells)
    return table(["ns"] + cases, rows)


def write_kept(figures):
    rows = []
    for case, scale, unit in (("sizes at random", 1, "ns"), ("frames", 1e6, "ms")):
        for subject in figures.subjects("kept-blocks", case):
            rows.append([f"{case}, {subject}", number(figures.median("kept-blocks", case, subject) / scale), unit])
    return table(["", "", ""], rows)


def write_resident(figures):
    case = "resident memory"
    quantities = ["peak", "left when all is dropped", "left after buf_pool_trim_all()"]
    rows = [
        [subject] + [cell(figures, "kept-blocks", case, subject, quantity) for quantity in quantities]
        for subject in figures.subjects("kept-blocks", case)
    ]
    return table(["MiB"] + quantities, rows)


def write_levels(figures):
    """A row for hits and one for misses, a column for each number of levels."""
    cases = [case for case in figures.cases("levels") if "threads" not in case]
    return grid(figures, "levels", cases, first="ns")


def write_shared(figures):
    cases = [case for case in figures.cases("levels") if "threads" in case]
    return grid(figures, "levels", cases, "throughput", "million/s")


def write_many_pools(figures):
    return grid(figures, "many-pools", figures.cases("many-pools"), first="µs")


def write_streams(figures):
    """Not every way exists in each case."""
    cases = figures.cases("streams")
    subjects = list(dict.fromkeys(subject for case in cases for subject in figures.subjects("streams", case)))
    rows = [
        [case] + [
            cell(figures, "streams", case, subject, "throughput") if subject in figures.subjects("streams", case) else ""
            for subject in subjects
        ]
        for case in cases
    ]
    return table(["GB/s"] + subjects, rows)


def write_saturation(figures):
    subjects = figures.subjects("saturation")
    rows = [
        [case] + [cell(figures, "saturation", case, subject, "throughput") for subject in subjects]
        for case in figures.cases("saturation")
    ]
    return table(["million/s"] + subjects, rows)


def write_waits(figures):
    quantities = ["wait, p50", "wait, p99", "wait, p99.9", "wait, p99.9 of the worst thread", "wait, longest", "fairness"]
    rows = []
    for case in figures.cases("saturation"):
        for subject in figures.subjects("saturation"):
            cells = [cell(figures, "saturation", case, subject, quantity) for quantity in quantities]
            overtaken = cell(figures, "saturation", case, subject, "most overtaken") if subject == POOL else ""
            rows.append([f"{case}, {subject}"] + cells + [overtaken])
    head = ["µs", "p50", "p99", "p99.9", "p99.9 of the worst thread", "longest", "Jain", "most overtaken"]
    return table(head, rows)


def write_mixed_sizes(figures):
    quantities = [f"{who}: {what}" for who in ("small", "half", "all") for what in ("served", "wait, p99", "wait, longest")]
    rows = [
        [quantity, figures.get("mixed-sizes", "mixed sizes", POOL, quantity)["unit"]]
        + [cell(figures, "mixed-sizes", "mixed sizes", s, quantity) for s in figures.subjects("mixed-sizes")]
        for quantity in quantities
    ]
    return table(["", "unit"] + figures.subjects("mixed-sizes"), rows)


def write_wake_up(figures):
    return grid(figures, "wake-up", figures.cases("wake-up"), first="µs")


def write_tasks(figures):
    return grid(figures, "tasks", figures.cases("tasks"), first="µs")


def write_overhead(figures):
    cases = [case for case in figures.cases("memory") if case.endswith(" B")]
    rows = []
    for program in ("memory", "memory, jemalloc", "memory, mimalloc"):
        if figures.has(program):
            cells = [cell(figures, program, case, POOL, "overhead") for case in cases]
            rows.append([f"beyond malloc, {figures.machine(program)['allocator']}"] + cells)
    rows.append(["GBytes, beyond malloc"] + [cell(figures, "memory", case, "GBytes", "overhead") for case in cases])
    return table(["bytes"] + cases, rows)


def write_random_run(figures):
    case = "long random run"
    rows = []
    for program in ("memory", "memory, jemalloc", "memory, mimalloc"):
        for subject in (POOL, "malloc"):
            if figures.has(program):
                cells = [cell(figures, program, case, subject, q) for q in ("peak beyond the limit", "left when all is dropped")]
                rows.append([f"{subject}, {figures.machine(program)['allocator']}"] + cells)
    return table(["MiB", "peak beyond the limit", "left when all is dropped"], rows)


# The other allocators: program, case, quantity, and its unit.
UNDER_ALLOCATORS = [
    ("latency", "1 × 64 B", "time", "ns"),
    ("latency", "16 × 64 B", "time", "ns"),
    ("latency", "1 × 4 KiB", "time", "ns"),
    ("latency", "1 × 64 KiB", "time", "ns"),
    ("pipeline", "1 to 1, 64 B", "time", "ns"),
    ("contention", "2 threads", "throughput", "million/s"),
]


def write_allocators(figures):
    rows = []
    for allocator in ("", ", jemalloc", ", mimalloc"):
        wanted = [row if figures.has(row[0] + allocator) else None for row in UNDER_ALLOCATORS]
        if not any(wanted):
            continue
        name = figures.machine("latency" + allocator)["allocator"]
        for subject in (POOL, "malloc", "floor"):
            cells = [cell(figures, w[0] + allocator, w[1], subject, w[2]) if w else "" for w in wanted]
            rows.append([f"{subject}, {name}"] + cells)
    return table([""] + [f"{case}, {unit}" for _, case, _, unit in UNDER_ALLOCATORS], rows)


def write_checksums(figures):
    rows = [] if not figures.has("checksums") else [
        [case, subject, cell(figures, "checksums", case, subject)]
        for case in figures.cases("checksums")
        for subject in figures.subjects("checksums", case)
    ]
    return table(["", "", "ms"], rows)


def write_languages(figures):
    rows = []
    for program in ("python", "javascript"):
        if figures.has(program):
            for case in figures.cases(program):
                for subject in figures.subjects(program, case):
                    rows.append([f"{program}: {case}, {subject}", cell(figures, program, case, subject)])
    return table(["", "µs"], rows)


THREADS = [1, 2, 4, 8, 16, 32, 64]


def write_counting(figures):
    """A row for each kind of work, a column for each number of threads."""
    rows = []
    for case in figures.cases("counting"):
        cells = []
        for n in THREADS:
            subject = f"{n} threads, {n} stripes"
            if subject in figures.subjects("counting", case):
                locked = number(figures.median("counting", case, subject, "locked sections"))
                revoked = number(figures.median("counting", case, subject, "stripes revoked"))
                refused = number(figures.median("counting", case, subject, "refused"))
                cells.append(f"{locked} / {revoked} / {refused}")
            else:
                cells.append("")
        rows.append([case] + cells)
    return table(["locked sections / stripes revoked / refused"] + [f"{n} threads" for n in THREADS], rows)


def write_stripes(figures):
    case = "each holds up to 8 of 64"
    rows = []
    for n in THREADS:
        subject = f"64 threads, {n} stripes"
        quantities = ["stripes in use", "compare-and-swaps", "locked sections", "stripes revoked"]
        in_use = figures.median("counting", case, subject, "stripes in use")
        rows.append([n] + [cell(figures, "counting", case, subject, q) for q in quantities] + [number(64 / in_use)])
    head = ["stripes", "in use", "compare-and-swaps", "locked sections", "stripes revoked", "threads on each stripe"]
    return table(head, rows)


TABLES = {
    "aims": write_aims,
    "machine": write_machine,
    "spread": write_spread,
    "peers": write_peers,
    "latency": write_latency,
    "touched": write_touched,
    "allocators": write_allocators,
    "contention": write_contention,
    "pipeline": write_pipeline,
    "kinds": write_kinds,
    "kept": write_kept,
    "resident": write_resident,
    "levels": write_levels,
    "streams": write_streams,
    "checksums": write_checksums,
    "shared": write_shared,
    "many-pools": write_many_pools,
    "saturation": write_saturation,
    "waits": write_waits,
    "mixed-sizes": write_mixed_sizes,
    "wake-up": write_wake_up,
    "tasks": write_tasks,
    "overhead": write_overhead,
    "random-run": write_random_run,
    "languages": write_languages,
    "counting": write_counting,
    "stripes": write_stripes,
}
