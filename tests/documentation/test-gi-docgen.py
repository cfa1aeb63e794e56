#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks that gi-docgen finds nothing undocumented, and the contents of its pages.
Usage: test-gi-docgen.py GI_DOCGEN CONFIG GIR HTML_DIR"""

import json
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, equal, fail_if, run_checks  # noqa: E402

GI_DOCGEN, CONFIG, GIR = sys.argv[1:4]
FOLDER = pathlib.Path(sys.argv[4])
CORE = "{http://www.gtk.org/introspection/core/1.0}"
C = "{http://www.gtk.org/introspection/c/1.0}"


def read(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def check_documented():
    command = [GI_DOCGEN, "check", "--fatal-warnings", "--config", CONFIG, GIR]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0 or "WARNING" in result.stdout:
        raise Failure(result.stdout)


def check_pages():
    """gi-docgen can omit something without a message, so each function and property must have its page."""
    namespace = ElementTree.parse(GIR).getroot().find(CORE + "namespace")
    pages = {path.name for path in FOLDER.glob("*.html")}
    missing = []
    for owner in namespace:
        for kind, fragment in (("method", "method"), ("constructor", "ctor"), ("property", "property")):
            for part in owner.findall(CORE + kind):
                page = f"{fragment}.{owner.get('name')}.{part.get('name')}.html"
                missing += [page] if page not in pages else []
    fail_if(missing)


def check_start_page():
    page = read("index.html")
    places = [page.find(text) for text in (">Guide ", "overview.html", "getting-started.html", ">Build<")]
    equal((sorted(places), places[0] < 0), (places, False))
    equal('href=""' in page, False)


def check_titles():
    titles = {"architecture.html": "Architecture", "overview.html": "Overview", "python.html": "Python"}
    found = {page: re.findall(r"<h\d[^>]*>\s*(.*?)\s*<", read(page)).count(title) for page, title in titles.items()}
    equal(found, dict.fromkeys(titles, 1))


def check_codes():
    page = read("method.Pool.allocate.html")
    equal('<a href="error.PoolError.html#closed"><code>BUF_POOL_ERROR_CLOSED</code></a>' in page, True)


def check_functions():
    """Each function is marked as code, also next to a punctuation mark."""
    marked = re.compile(r"<head>.*</head>|<(code|pre|a|h\d)\b.*?</\1>|<[^>]*>", re.DOTALL)
    found = {path.name: re.findall(r"\b\w+\(\)", marked.sub(" ", read(path.name))) for path in FOLDER.glob("*.html")}
    fail_if([f"{page}: {', '.join(names)}" for page, names in sorted(found.items()) if names])


def check_style():
    style = read("style.css")
    equal([rule for rule in (".copy-button {", "filter: invert(") if rule not in style.split(":root {")[-1]], [])


def check_search():
    index = json.loads(read("index.json"))
    found = {symbol["ident"] for symbol in index["symbols"] if "ident" in symbol}
    fail_if([text for symbol in index["symbols"] if "@" in (text := symbol.get("summary") or "")])
    equal({"buf_pool_allocate", "buf_pool_allocation_get_bytes", "buf_pool_drain_async"} - found, set())


sys.exit(
    run_checks(
        [
            ("every symbol is documented", check_documented),
            ("everything has its page", check_pages),
            ("the first page begins with the guide", check_start_page),
            ("each chapter has one title", check_titles),
            ("error codes are links", check_codes),
            ("functions are marked as code", check_functions),
            ("the style is complete", check_style),
            ("there is a search index", check_search),
        ]
    )
)
