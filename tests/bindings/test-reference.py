#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks that the reference pages of the languages list everything that exists, and nothing else.
Usage: test-reference.py DOCS PYTHON_OVERRIDE JAVASCRIPT_OVERRIDE LUA_OVERRIDE RUBY_OVERRIDE"""

import inspect
import os
import re
import sys

import gi

gi.require_version("BufPool", "1.0")
from gi.repository import BufPool  # noqa: E402
from introspected import infos, methods, taken  # noqa: E402

DOCS, *OVERRIDES = sys.argv[1:]
LANGUAGES = dict(zip(("python", "javascript", "lua", "ruby"), OVERRIDES))
CLASSES = ("Pool", "PoolAllocation", "Budget", "Permit", "Reader")
# Addresses are useless in JavaScript.
HIDDEN = {"javascript": {"get_data", "get_first", "get_buffer"}}
# Parameters that are keywords in only one language, and parameters that promises and coroutines do not have.
KEYWORDS = {"at_least", "timeout", "priority"}
CALLBACK = {"callback", "user_data"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def listed(language, name):
    """What the section of this class lists: calls with their parameters."""
    page = read(os.path.join(DOCS, language + ".md"))
    section = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", page, re.S | re.M).group(1)
    rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    calls = re.findall(r"`(\w+)\(([\w, ]*)\)`", rows.replace("`. |", "` |"))
    return {call: [p for p in parameters.split(", ") if p] for call, parameters in calls}


def check_complete(language, name):
    real = {method.get_name() for method in methods(infos()[name])} - HIDDEN.get(language, set())
    missing = real - set(listed(language, name)) - {"ref", "unref"}
    assert not missing, f"not listed: {missing}"


def check_existing(language, name):
    real = {method.get_name() for method in methods(infos()[name])}
    source = read(LANGUAGES[language])
    for call in set(listed(language, name)) - real:
        if language == "python":
            assert hasattr(getattr(BufPool, name), call), call
        else:
            # Some names are composed, such as "async_" .. name.
            words = rf"\b{call}\b|\b{call.removeprefix('async_')}\b"
            assert call == "copy" or re.search(words, source), f"{call} does not exist"
    hidden = HIDDEN.get(language, set()) & set(listed(language, name))
    assert not hidden, f"these do not exist: {hidden}"


def python_parameters(name, call, introspected):
    function = inspect.getattr_static(getattr(BufPool, name), call)
    function = getattr(function, "__func__", function)
    if inspect.isfunction(function):
        return [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
    return introspected


def check_parameters(language, name):
    calls = listed(language, name)
    for method in methods(infos()[name]):
        call, real = method.get_name(), taken(method)
        if call not in calls:
            continue
        if language == "python":
            assert calls[call] == python_parameters(name, call, real), (call, calls[call])
        else:
            given = [p for p in calls[call] if p not in KEYWORDS | CALLBACK]
            assert given == [p for p in real if p not in CALLBACK], (call, given, real)


print(f"1..{3 * len(LANGUAGES) * len(CLASSES)}")
number = failed = 0
for title in LANGUAGES:
    for checked_class in CLASSES:
        for check in (check_complete, check_existing, check_parameters):
            number += 1
            what = f"{title}: {checked_class}: {check.__name__.removeprefix('check_')}"
            try:
                check(title, checked_class)
                print("ok", number, what)
            except (AssertionError, AttributeError) as error:
                failed += 1
                print(f"# {error!r}")
                print("not ok", number, what)
sys.exit(failed != 0)
