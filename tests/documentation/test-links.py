#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks the links of a reference.
Usage: test-links.py HTML_DIR URLMAP

Within the reference, the page, the anchor and the picture must exist. Links to other sites are only checked
for their syntax, and nothing is downloaded."""

import html.parser
import pathlib
import re
import sys
import urllib.parse

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, fail_if, run_checks  # noqa: E402

FOLDER = pathlib.Path(sys.argv[1])
NAMESPACES = re.findall(r"\['(\w+)', 'https://", pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
ELSEWHERE = re.compile(r"(?:\.\./|/usr/share/gtk-doc/html/)(?:glib|gobject|gio)/[\w-]+\.html(?:#[\w:.-]+)?")


class Page(html.parser.HTMLParser):
    """The anchors and the links of a page; a link is its target and the attributes of its tag."""

    def __init__(self, path):
        super().__init__()
        self.anchors = set()
        self.links = []
        self.pictures = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        for name in ("id", "name"):
            if name in attributes and (name == "id" or tag == "a"):
                self.anchors.add(attributes[name])
        if tag == "img":
            self.pictures.append(attributes.get("src", ""))
        for name in ("href", "src"):
            if name in attributes:
                self.links.append((attributes[name] or "", attributes))

    handle_startendtag = handle_starttag


PAGES = {path.name: Page(path) for path in sorted(FOLDER.glob("*.html"))}


def what_is_wrong(page, target, attributes):
    """Returns what is wrong with a link, or None."""
    if "data-namespace" in attributes:
        known = attributes["data-namespace"] in NAMESPACES
        return None if known and attributes.get("data-link", "").split("#")[0].endswith(".html") else "no such namespace"
    url = urllib.parse.urlsplit(target)
    if url.scheme in ("http", "https"):
        return None if url.netloc and not re.search(r"\s", target) else "no URL"
    if url.scheme or url.netloc:
        return "neither a page nor a URL"
    if ELSEWHERE.fullmatch(target):
        return None
    name = urllib.parse.unquote(url.path) or page
    if not (FOLDER / name).is_file():
        return "no such file"
    if url.fragment and name in PAGES and urllib.parse.unquote(url.fragment) not in PAGES[name].anchors:
        return "no such anchor"
    return None


def dead_links(wanted):
    """The links with the error @wanted."""
    found = []
    for name, page in PAGES.items():
        for target, attributes in page.links:
            wrong = what_is_wrong(name, target, attributes)
            if wrong is not None and (wrong == "no such anchor") == (wanted == "no such anchor"):
                found.append(f"{name}: {target}: {wrong}")
    return sorted(set(found))


def check_pictures():
    sources = pathlib.Path(__file__).resolve().parents[2] / "docs" / "images"
    drawn = {path.name for path in sources.glob("*.svg")}
    shown = {pathlib.PurePath(picture).name for page in PAGES.values() for picture in page.pictures}
    fail_if(sorted(f"{name} is shown nowhere" for name in drawn - shown))
    fail_if([f"{name} is empty" for name in drawn if not (FOLDER / name).stat().st_size])


def check_size():
    links = sum(len(page.links) for page in PAGES.values())
    if len(PAGES) < 15 or links < 1000:
        raise Failure(f"only {len(PAGES)} pages with {links} links")


# Pages that are read only in the sources.
BESIDE = ("performance", "reliability", "seeing")


def check_chapters():
    names = [path.stem for path in (pathlib.Path(__file__).resolve().parents[2] / "docs").glob("*.md") if path.stem not in BESIDE]
    linked = {target for target, _ in PAGES["index.html"].links}
    fail_if([f"{name} is not linked on the first page" for name in names if f"{name}.html" not in linked])


sys.exit(
    run_checks(
        [
            ("the reference is there", check_size),
            ("no dead link", lambda: fail_if(dead_links("no such file"))),
            ("no missing anchor", lambda: fail_if(dead_links("no such anchor"))),
            ("all pictures are shown", check_pictures),
            ("the first page links the chapters", check_chapters),
        ]
    )
)
