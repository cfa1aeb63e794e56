# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs checks, and prints the results as TAP."""

import traceback


class Failure(Exception):
    """A failed check raises this; its text is printed."""


def fail_if(lines):
    """Fails and prints the lines, if there are any."""
    if lines:
        raise Failure("\n".join(lines))


def equal(found, expected):
    if found != expected:
        raise Failure(f"found    {found!r}\nexpected {expected!r}")


class Skipped(Exception):
    """A check that cannot run here raises this; its text is the reason."""


def run_checks(checks):
    """@checks are pairs of a name and a function. Returns whether one has failed."""
    failed = False
    print(f"1..{len(checks)}")
    for number, (name, check) in enumerate(checks, 1):
        try:
            check()
            print("ok", number, name, flush=True)
        except Skipped as skipped:
            print(f"ok {number} {name} # SKIP {skipped}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed = True
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            print("not ok", number, name)
            print("\n".join("# " + line for line in text.splitlines()), flush=True)
    return failed
