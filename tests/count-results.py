#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Counts the test cases of some sections of tests/run: count-results.py SECTION.logs...

A file contains the names of logs, one per line: either the common part of the names of meson's two logs,
.json and .junit.xml; or, ending in .tap, the output of one program, which must have run as many cases as it
planned. Prints the names of failed tests with the end of what they printed, and a last line: N passed, N failed,
N skipped. Each of these counts as one more failure: a program that failed although none of its cases has failed, a
missing log, and a section without logs."""

import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

MOST_LINES = 30  # of the output of a failed test
LINES_BEFORE = 5  # some programs print the reason before the result

passed = failed = skipped = 0


def show_failure(text):
    """Shows what is printed around the first failed case; without one, the end."""
    lines = text.splitlines()
    case = next((i for i, line in enumerate(lines) if line.startswith("not ok")), len(lines))
    first = case - (LINES_BEFORE if case < len(lines) else MOST_LINES)
    for line in lines[max(first, 0):][:MOST_LINES]:
        print("    " + line)


def count_tap(path):
    global passed, failed, skipped
    name = os.path.basename(path).removesuffix(".tap")
    planned = seen = 0
    failed_before = failed
    with open(path, encoding="utf-8") as log:
        text = log.read()
    for line in text.splitlines():
        if match := re.match(r"1\.\.(\d+)", line):
            planned = int(match.group(1))
        elif match := re.match(r"(not )?ok\b(?! \d+.*# SKIP)", line):
            seen += 1
            if match.group(1):
                failed += 1
                print("failed:", name, line)
            else:
                passed += 1
        elif line.startswith("ok"):
            seen += 1
            skipped += 1
    if seen == 0 or seen != planned:
        failed += 1
        print("failed:", name, f"planned {planned} cases and ran {seen}")
    if failed > failed_before:
        show_failure(text)


def count_testlog(path):
    global passed, failed, skipped
    programs_with_failures = set()
    for suite in ElementTree.parse(path + ".junit.xml").getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                programs_with_failures.add(suite.get("name").split(" / ")[-1])
                print("failed:", suite.get("name"), case.get("name"))
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1

    with open(path + ".json", encoding="utf-8") as programs:
        for program in map(json.loads, programs):
            if program["result"] in ("OK", "SKIP", "EXPECTEDFAIL"):
                continue
            if program["name"].split(" / ")[-1] not in programs_with_failures:
                failed += 1
            print("failed:", program["name"], program["result"], program["returncode"])
            show_failure(program.get("stdout", "") + program.get("stderr", ""))


def read_lines(path):
    try:
        with open(path, encoding="utf-8") as lines:
            return lines.read().splitlines()
    except OSError:
        return []


for section in sys.argv[1:]:
    logs = read_lines(section)
    if not logs:
        failed += 1
        print("failed:", section, "names no results")
    for log in logs:
        try:
            count_tap(log) if log.endswith(".tap") else count_testlog(log)
        except (OSError, ValueError, ElementTree.ParseError) as error:
            failed += 1
            print("failed:", log, error)

print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0 or passed == 0)
