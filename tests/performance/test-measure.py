#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Measures only some of the programs, with and without earlier figures: test-measure.py BUILD [PYTHON]

PYTHON is an interpreter that has matplotlib, for the report."""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, Skipped, equal, run_checks  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(sys.argv[1]).resolve()
PYTHON = sys.argv[2] if len(sys.argv) > 2 else None
FOLDER = tempfile.TemporaryDirectory()
FIGURES = pathlib.Path(FOLDER.name) / "figures.json"


def measure(output, *names):
    command = [sys.executable, HERE / "measure.py", "--quick", BUILD, output, *names]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def measure_well(*names):
    done = measure(FIGURES, *names)
    if done.returncode != 0:
        raise Failure(done.stdout + done.stderr)
    equal(done.stdout.splitlines(), [f"1..{len(names)}"] + [f"ok {n} {name}" for n, name in enumerate(names, 1)])
    return json.loads(FIGURES.read_text(encoding="utf-8"))["programs"]


def measure_badly(output, names, complaint):
    before = output.read_bytes()
    done = measure(output, *names)
    if done.returncode == 0 or complaint not in done.stderr or "Traceback" in done.stderr:
        raise Failure(f"exit {done.returncode}: {done.stderr}")
    equal(output.read_bytes(), before)


def check_without_earlier_figures():
    programs = measure_well("latency", "counting")
    equal(list(programs), ["latency", "counting"])
    equal([name for name, program in programs.items() if not program["figures"]], [])


def check_with_earlier_figures():
    before = json.loads(FIGURES.read_text(encoding="utf-8"))["programs"]
    programs = measure_well("mixed-sizes")
    equal(list(programs), ["latency", "counting", "mixed-sizes"])
    del programs["mixed-sizes"]
    equal(programs, before)


def check_unknown_name():
    measure_badly(FIGURES, ["latency", "no-such-program"], "There is no no-such-program")


def check_other_file():
    other = pathlib.Path(FOLDER.name) / "other.json"
    for text in ("", "[]", "{}", "no figures"):
        other.write_text(text, encoding="utf-8")
        measure_badly(other, ["latency"], "holds no earlier figures")


def check_partial_report():
    if PYTHON is None:
        raise Skipped("matplotlib is not installed")
    done = subprocess.run([PYTHON, HERE / "report", FIGURES, FOLDER.name], capture_output=True, text=True, check=False)
    if done.returncode != 1 or "Traceback" in done.stderr or "contention" not in done.stderr:
        raise Failure(f"exit {done.returncode}: {done.stderr}")
    equal(sorted(path.name for path in pathlib.Path(FOLDER.name).iterdir()), ["figures.json", "other.json"])


sys.exit(
    run_checks(
        [
            ("some programs are measured without earlier figures", check_without_earlier_figures),
            ("earlier figures stay", check_with_earlier_figures),
            ("an unknown name is refused", check_unknown_name),
            ("a file without figures does not change", check_other_file),
            ("the report names missing measurements", check_partial_report),
        ]
    )
)
