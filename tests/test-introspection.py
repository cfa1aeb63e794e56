#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What other languages find in the GIR. Usage: test-introspection.py GIR VAPI"""

import sys
import xml.etree.ElementTree as ElementTree

CORE = "{http://www.gtk.org/introspection/core/1.0}"
C = "{http://www.gtk.org/introspection/c/1.0}"
GLIB = "{http://www.gtk.org/introspection/glib/1.0}"

namespace = ElementTree.parse(sys.argv[1]).getroot().find(CORE + "namespace")


def named(kind, name, parent=namespace):
    return next((e for e in parent.findall(CORE + kind) if e.get("name") == name), None)


def methods(element):
    return {e.get("name"): e for e in element.findall(CORE + "method") if e.get("introspectable") != "0"}


def throws(element, *names):
    return all(methods(element)[name].get("throws") == "1" for name in names)


pool = named("class", "Pool")
allocation = named("record", "PoolAllocation")
budget = named("class", "Budget")
permit = named("record", "Permit")
reader = named("class", "Reader")
constants = {e.get("name"): e.get("value") for e in namespace.findall(CORE + "constant")}

FREE_FUNCTIONS = {"get_memory_limit", "pool_error_quark"}

CHECKS = {
    "the namespace is BufPool 1.0": lambda: (namespace.get("name"), namespace.get("version")) == ("BufPool", "1.0"),
    "Pool is a final class that can be initialized": lambda: pool.get("parent") == "GObject.Object"
    and pool.get("final") == "1"
    and named("implements", "Gio.Initable", pool) is not None,
    "Pool has its constructors, which throw": lambda: all(
        named("constructor", name, pool).get("throws") == "1" for name in ("new", "new_with_budget")
    ),
    "Pool has its methods": lambda: {
        "allocate", "allocate_timeout", "try_allocate", "drain", "drain_timeout", "close", "is_closed",
        "get_buffer_size", "get_max_memory", "set_max_memory", "get_alignment", "get_zero_fill", "get_name",
        "get_allocated_memory", "get_available_memory", "get_active_allocations", "get_waiting",
        "get_cached_memory", "get_max_cached_memory", "set_max_cached_memory", "trim",
        "allocate_full", "allocate_full_async", "allocate_full_finish", "get_budget", "get_reserved_memory",
        "set_reserved_memory", "get_max_waiting", "set_max_waiting",
    } <= methods(pool).keys(),
    "requests throw": lambda: throws(
        pool, "allocate", "allocate_timeout", "allocate_full", "try_allocate", "drain", "drain_timeout"
    )
    and throws(budget, "acquire", "acquire_full", "try_acquire", "acquire_finish")
    and throws(permit, "shrink"),
    "Budget is a final class with two constructors": lambda: budget.get("final") == "1"
    and {e.get("name") for e in budget.findall(CORE + "constructor")} == {"new", "new_child"},
    "Budget has its methods": lambda: methods(budget).keys() == {
        "acquire", "acquire_full", "try_acquire", "acquire_async", "acquire_finish", "get_max_memory",
        "set_max_memory", "get_reserved_memory", "set_reserved_memory", "get_max_waiting", "set_max_waiting",
        "get_parent", "get_name", "get_allocated_memory", "get_available_memory", "get_waiting",
    },
    "Budget has its properties": lambda: {e.get("name") for e in budget.findall(CORE + "property")} == {
        "parent", "name", "max-memory", "reserved-memory", "max-waiting", "allocated-memory", "available-memory",
        "waiting",
    },
    "Permit is a boxed record with its methods": lambda: permit.get(GLIB + "get-type") == "buf_permit_get_type"
    and methods(permit).keys() == {"get_size", "shrink", "release", "is_released"},
    "Pool has its properties": lambda: {e.get("name") for e in pool.findall(CORE + "property")} == {
        "buffer-size", "max-memory", "alignment", "zero-fill", "name", "allocated-memory", "available-memory",
        "active-allocations", "waiting", "closed", "max-cached-memory", "cached-memory", "reserved-memory",
        "max-waiting", "budget",
    },
    "properties know their getters": lambda: all(
        e.get("getter")
        for e in pool.findall(CORE + "property") + budget.findall(CORE + "property")
        if e.get("name") != "closed"
    ),
    "PoolAllocation is a boxed record": lambda: allocation.get(GLIB + "get-type") == "buf_pool_allocation_get_type",
    "PoolAllocation has its methods": lambda: {
        "get_length", "get_buffer_size", "get_allocated_bytes", "get_first", "get_buffer", "get_data", "get_bytes",
        "get_buffer_bytes", "fill", "extract", "shrink",
    } <= methods(allocation).keys(),
    "ref and unref are hidden": lambda: not {"ref", "unref"} & methods(allocation).keys(),
    "functions with a range throw": lambda: throws(allocation, "fill", "extract", "shrink"),
    "Reader is a final class with its methods": lambda: reader.get("final") == "1" and {
        "next_block", "next_block_async", "next_block_finish", "splice", "splice_async", "splice_finish",
        "get_stream", "get_pool", "get_n_buffers", "get_read_ahead", "set_read_ahead", "get_position",
    } == methods(reader).keys(),
    "Reader has its properties, which know their getters": lambda: {
        e.get("name"): e.get("getter") for e in reader.findall(CORE + "property")
    } == {
        "stream": "get_stream", "pool": "get_pool", "n-buffers": "get_n_buffers", "read-ahead": "get_read_ahead",
        "position": "get_position",
    },
    "reading throws": lambda: throws(reader, "next_block", "next_block_finish", "splice", "splice_finish"),
    "no function of a type is a free function": lambda: not [
        e.get("name")
        for e in namespace.findall(CORE + "function")
        if e.get("introspectable") != "0" and e.get("name") not in FREE_FUNCTIONS and not e.get("moved-to")
    ],
    "the error domain has its registered name": lambda: named("enumeration", "PoolError").get(
        GLIB + "error-domain"
    ) == "buf-pool-error-quark",
    "the error codes are there": lambda: [
        e.get("name") for e in named("enumeration", "PoolError").findall(CORE + "member")
    ] == ["invalid_config", "invalid_count", "too_large", "no_memory", "closed", "out_of_range", "released", "overloaded",
        "in_use"],
    "a buffer size has the value in its name": lambda: all(
        e.get("name") == "s" + e.get("value") for e in named("enumeration", "BufferSize").findall(CORE + "member")
    ),
    "the constants are there": lambda: constants["POOL_UNLIMITED"] == str(2**53 - 1)
    and constants["POOL_MAX_BUFFERS"] == "65535",
    "every public symbol has a Since version": lambda: all(
        e.get("version")
        for kind in ("class", "record", "enumeration", "constant")
        for e in namespace.findall(CORE + kind)
        if e.get("name") not in ("BudgetClass", "PoolClass", "ReaderClass") and e.get("introspectable") != "0"
    )
    and all(e.get("version") for kind in (pool, budget, permit, allocation, reader) for e in methods(kind).values()),
    "Vala sees the namespace and its types": lambda: all(
        text in open(sys.argv[2], encoding="utf-8").read()
        for text in (
            "namespace BufPool", "class Pool : GLib.Object", "class Budget : GLib.Object", "class Permit",
            "class PoolAllocation", "errordomain PoolError",
        )
    ),
}

print(f"1..{len(CHECKS)}")
failed = 0
for number, (name, check) in enumerate(CHECKS.items(), 1):
    try:
        passed = check()
    except (AttributeError, KeyError) as error:
        print(f"# {error!r}")
        passed = False
    failed += not passed
    print("ok" if passed else "not ok", number, name)
sys.exit(failed != 0)
