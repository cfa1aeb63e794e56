#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Counts the test cases of meson's JUnit reports: count-results.py REPORT...

Names what failed, and ends with one line: N passed, N failed, N skipped. A program that ended badly,
or before all of its cases had run, counts as one failure more."""

import sys
import xml.etree.ElementTree as ElementTree

passed = failed = skipped = 0

for report in sys.argv[1:]:
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        broken = suite.find("error") is not None
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                broken = False
                print("failed:", suite.get("name"), case.get("name"))
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
        if broken:
            failed += 1
            print("failed:", suite.get("name"), "ended badly")

print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0 or passed == 0)
