# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What the measuring programs in Python share: they measure in turn, and print JSON like the others."""

import json
import statistics
import sys

QUICK = "--quick" in sys.argv


def measure_in_turn(program, machine, runs, unit, jobs):
    """Jobs are: case, subject, a function that returns a time in this unit."""
    runs = 1 if QUICK else runs
    samples = [[] for _ in jobs]
    for _ in range(runs):
        for sample, (_, _, measure) in zip(samples, jobs):
            sample.append(measure())
    figures = [
        {
            "case": case,
            "subject": subject,
            "quantity": "time",
            "unit": unit,
            "median": statistics.median(sample),
            "minimum": min(sample),
            "maximum": max(sample),
            "samples": sample,
        }
        for (case, subject, _), sample in zip(jobs, samples)
    ]
    json.dump(
        {"program": program, "quick": QUICK, "runs": runs, "machine": machine, "unfinished": [], "figures": figures},
        sys.stdout,
        indent=1,
    )
    print()
