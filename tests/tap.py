# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs checks, and says in TAP how they went."""

import traceback


class Failure(Exception):
    """What a check raises; its text is shown."""


def fail_if(lines):
    """Fails, and shows the lines, if there are any."""
    if lines:
        raise Failure("\n".join(lines))


def equal(found, expected):
    if found != expected:
        raise Failure(f"found    {found!r}\nexpected {expected!r}")


class Skipped(Exception):
    """What a check raises that cannot be made here; its text says why."""


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
