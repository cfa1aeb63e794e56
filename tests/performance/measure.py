#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs all programs one after the other: measure.py [--quick] BUILD OUTPUT.json [NAME]...

Prints TAP. With names as they are in the output, measures only these, and keeps the figures of the others.
With --quick, each program only shows that it works; without names, this also tests the report on their
figures, with the interpreter PYTHON_WITH_MATPLOTLIB."""

import ctypes.util
import json
import os
import subprocess
import sys
import tempfile

QUICK = "--quick" in sys.argv
BUILD, OUTPUT, *NAMES = [argument for argument in sys.argv[1:] if argument != "--quick"]
BUILD, OUTPUT = os.path.abspath(BUILD), os.path.abspath(OUTPUT)
HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(BUILD, "bufpool")
TIME_LIMIT = 200 if QUICK else 1200

PROGRAMS = [
    "latency", "contention", "pipeline", "kept-blocks", "saturation", "mixed-sizes", "wake-up", "tasks", "memory",
    "levels", "many-pools", "counting", "streams",
]
# These are measured with other allocators, too.
ALLOCATORS = ["jemalloc", "mimalloc"]
PRELOADED = ["latency", "memory"] if QUICK else ["latency", "contention", "pipeline", "memory"]
UNDER_ALLOCATORS = "libbufpool,malloc,floor"
# With aligned blocks of the pool, but not of the others.
ALIGNED = ["latency"] if QUICK else ["latency", "pipeline"]
BESIDE_ALIGNED = "libbufpool,malloc,GstBufferPool,rte_mempool"
ALIGNMENT = "4096"


class Skip(Exception):
    """It cannot be measured here."""


def run(command, **variables):
    options = ["--json"] + (["--quick"] if QUICK else [])
    environment = dict(os.environ, **variables)
    done = subprocess.run(
        command + options, env=environment, stdout=subprocess.PIPE, timeout=TIME_LIMIT, encoding="utf-8", check=True
    )
    return json.loads(done.stdout)


def run_program(name, *options, **variables):
    if name == "memory":
        variables["G_SLICE"] = "always-malloc"  # the size of a slice is unknown
    return run([os.path.join(BUILD, "tests", "performance", name), *options], **variables)


def run_preloaded(name, allocator):
    library = ctypes.util.find_library(allocator)
    if library is None:
        raise Skip(allocator + " is not installed")
    return run_program(name, "--only", UNDER_ALLOCATORS, LD_PRELOAD=library)


def run_aligned(name):
    return run_program(name, "--only", BESIDE_ALIGNED, PERFORMANCE_ALIGNMENT=ALIGNMENT)


def run_language(interpreter, program, **variables):
    if not os.path.exists(os.path.join(LIBRARY, "BufPool-1.0.typelib")):
        raise Skip("built without introspection")
    return run(
        [interpreter, os.path.join(HERE, program)], LD_LIBRARY_PATH=LIBRARY, GI_TYPELIB_PATH=LIBRARY, **variables
    )


def run_checksums():
    digest = os.path.join(BUILD, "examples", "digest")
    if not os.path.exists(digest):
        raise Skip("built without the examples")
    return run([sys.executable, os.path.join(HERE, "checksums.py"), digest])


def run_python():
    return run_language(
        os.environ.get("PYTHON_WITH_GI", "/usr/bin/python3"),
        "languages.py",
        PYTHONPATH=os.path.join(LIBRARY, "bindings", "python"),
    )


def run_javascript():
    return run_language("gjs", "languages.js", GJS_PATH=os.path.join(HERE, "..", "..", "bufpool", "bindings", "gjs"))


def try_report():
    interpreter = os.environ.get("PYTHON_WITH_MATPLOTLIB", "/usr/bin/python3")
    if subprocess.run([interpreter, "-c", "import matplotlib"], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skip("matplotlib is not installed")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([interpreter, os.path.join(HERE, "report"), OUTPUT, folder], check=True, timeout=TIME_LIMIT)
        pictures = os.listdir(os.path.join(folder, "performance"))
        assert os.path.getsize(os.path.join(folder, "performance.md")) > 10000 and len(pictures) >= 6, pictures


def load_results():
    try:
        with open(OUTPUT, encoding="utf-8") as file:
            return json.load(file)["programs"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"{OUTPUT} holds no earlier figures, and is left alone: {error!r}")


def main():
    results = load_results() if NAMES else {}
    jobs = [(name, lambda name=name: run_program(name)) for name in PROGRAMS]
    for allocator in ALLOCATORS:
        for name in PRELOADED:
            jobs.append((f"{name}, {allocator}", lambda name=name, library=allocator: run_preloaded(name, library)))
    jobs += [(f"{name}, aligned", lambda name=name: run_aligned(name)) for name in ALIGNED]
    jobs += [("checksums", run_checksums), ("python", run_python), ("javascript", run_javascript)]
    unknown = set(NAMES) - {name for name, _ in jobs}
    if unknown:
        sys.exit(f"There is no {', '.join(sorted(unknown))}, but: {', '.join(name for name, _ in jobs)}")
    jobs = [(name, job) for name, job in jobs if not NAMES or name in NAMES]
    if QUICK and not NAMES:
        jobs.append(("report", None))

    failed = 0
    print(f"1..{len(jobs)}", flush=True)
    for number, (name, job) in enumerate(jobs, 1):
        try:
            if job is None:
                try_report()
            else:
                results[name] = job()
                with open(OUTPUT, "w", encoding="utf-8") as file:
                    json.dump({"programs": results}, file, indent=1, ensure_ascii=False)
                    file.write("\n")
            print(f"ok {number} {name}", flush=True)
        except Skip as reason:
            print(f"ok {number} {name} # SKIP {reason}", flush=True)
        except (OSError, ValueError, AssertionError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"# {error!r}\nnot ok {number} {name}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
