#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks that the type stubs describe everything that exists, and nothing else.
Usage: test-stubs.py BufPool.pyi"""

import ast
import inspect
import sys

import gi

gi.require_version("BufPool", "1.0")
from gi.repository import BufPool, GObject  # noqa: E402
from introspected import infos, methods, taken  # noqa: E402

with open(sys.argv[1], encoding="utf-8") as file:
    STUBS = ast.parse(file.read())

# The class structures, which programs do not need.
HIDDEN = {"BudgetClass", "PoolClass", "ReaderClass"}
BOXED = {"Permit", "PoolAllocation"}
# Inherited from PyGObject, and not called by programs.
INHERITED = {"__init__", "__module__", "__doc__", "__gtype__", "__info__", "__weakref__", "__dict__", "__dir__"}


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def names(body):
    """The names that are defined there and are not private."""
    for node in body:
        if isinstance(node, FUNCTIONS + (ast.ClassDef,)):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id


def stub_class(name, body=None):
    body = STUBS.body if body is None else body
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)


def stub_functions(name):
    """The last of several overloads, which accepts the most."""
    return {node.name: node for node in stub_class(name).body if isinstance(node, FUNCTIONS)}


def positional(function):
    arguments = function.args
    listed = [a.arg for a in arguments.posonlyargs + arguments.args if a.arg not in ("self", "cls")]
    return listed + ([arguments.vararg.arg] if arguments.vararg else [])


def keywords(function):
    return [a.arg for a in function.args.kwonlyargs]


def same(stubs, real):
    missing, invented = set(real) - set(stubs), set(stubs) - set(real)
    assert not missing and not invented, f"missing: {missing}, invented: {invented}"


def introspected(name):
    return {method.get_name(): method for method in methods(infos()[name])}


def overridden(name):
    members = {key: getattr(member, "__func__", member) for key, member in vars(getattr(BufPool, name)).items()}
    return {
        key: member
        for key, member in members.items()
        if inspect.isfunction(member) and key not in INHERITED and (key[0] != "_" or key.endswith("__"))
    }


def check_namespace():
    same({name for name in names(STUBS.body) if not name.startswith("_")}, set(infos()) - HIDDEN)


def check_enumeration(name):
    real = {key for key, value in vars(getattr(BufPool, name)).items() if isinstance(value, getattr(BufPool, name))}
    same(names(stub_class(name).body), real)


def check_members(name):
    real = set(introspected(name)) | set(overridden(name))
    if name in BOXED:
        real.add("copy")  # each boxed type has it
    else:
        real |= {"Props", "props"} | {p.name.replace("-", "_") for p in GObject.list_properties(getattr(BufPool, name))}
    # inherited from object, and not described
    same({*names(stub_class(name).body)} - {"__init__"}, real - {"__repr__"})
    assert all(hasattr(getattr(BufPool, name), member) or member in ("Props", "__init__") for member in real)


def check_parameters(name):
    stubs, override = stub_functions(name), overridden(name)
    for method_name, method in introspected(name).items():
        assert positional(stubs[method_name]) == taken(method), (method_name, taken(method))
    for method_name, function in override.items():
        if method_name in stubs:
            real = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
            assert positional(stubs[method_name]) + keywords(stubs[method_name]) == real, (method_name, real)


def check_properties(name):
    specifications = {p.name.replace("-", "_"): p for p in GObject.list_properties(getattr(BufPool, name))}
    same(names(stub_class("Props", stub_class(name).body).body), specifications)
    writable = {n for n, p in specifications.items() if p.flags & GObject.ParamFlags.WRITABLE}
    same({a.arg for a in stub_functions(name)["__init__"].args.kwonlyargs}, writable)


CHECKS = {
    "the namespace": check_namespace,
    "BufferSize": lambda: check_enumeration("BufferSize"),
    "PoolError": lambda: check_enumeration("PoolError"),
    "members of Pool": lambda: check_members("Pool"),
    "members of Budget": lambda: check_members("Budget"),
    "members of Permit": lambda: check_members("Permit"),
    "members of PoolAllocation": lambda: check_members("PoolAllocation"),
    "parameters of Pool": lambda: check_parameters("Pool"),
    "parameters of Budget": lambda: check_parameters("Budget"),
    "parameters of Permit": lambda: check_parameters("Permit"),
    "parameters of PoolAllocation": lambda: check_parameters("PoolAllocation"),
    "members of Reader": lambda: check_members("Reader"),
    "parameters of Reader": lambda: check_parameters("Reader"),
    "properties of Pool, and what its constructor takes": lambda: check_properties("Pool"),
    "properties of Budget, and what its constructor takes": lambda: check_properties("Budget"),
    "properties of Reader, and what its constructor takes": lambda: check_properties("Reader"),
}

print(f"1..{len(CHECKS)}")
failed = 0
for number, (title, check) in enumerate(CHECKS.items(), 1):
    try:
        check()
        print("ok", number, title)
    except (AssertionError, KeyError, StopIteration) as error:
        failed += 1
        print(f"# {error!r}")
        print("not ok", number, title)
sys.exit(failed != 0)
