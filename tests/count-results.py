#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Counts the test cases in meson's logs: count-results.py TESTLOG...

A TESTLOG is the common part of the names of the two logs, .json and .junit.xml. Names what failed, and
ends with one line: N passed, N failed, N skipped. A program that ended badly, though no case of it has
failed, counts as one failure more."""

import json
import sys
import xml.etree.ElementTree as ElementTree

passed = failed = skipped = 0

for testlog in sys.argv[1:]:
    programs_with_failures = set()
    for suite in ElementTree.parse(testlog + ".junit.xml").getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                programs_with_failures.add(suite.get("name").split(" / ")[-1])
                print("failed:", suite.get("name"), case.get("name"))
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1

    with open(testlog + ".json", encoding="utf-8") as programs:
        for program in map(json.loads, programs):
            name = program["name"].split(" / ")[-1]
            if program["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and name not in programs_with_failures:
                failed += 1
                print("failed:", program["name"], program["result"], program["returncode"])

print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0 or passed == 0)
