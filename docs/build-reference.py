#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs gi-docgen, and then mends its pages.

Usage: build-reference.py GIR OUTPUT_DIR GI_DOCGEN [OPTION]...

In the pages, constants and error codes become links, as all other names are; and the first page begins
with the chapters, and leaves out what it has no value for."""

import pathlib
import re
import shutil
import subprocess
import sys

from symbol_names import SymbolNames

PARTS = re.compile(r"(<a\b.*?</a>|<pre\b.*?</pre>)", re.DOTALL)
CODE = re.compile(r"<code>([\w:-]+(?:\(\))?)</code>")
EMPTY_ROW = re.compile(r"<tr><td><em>\w+</em></td><td><a href=\"\".*?</tr>\s*", re.DOTALL)
CHAPTERS = re.compile(
    r'  <section>\s*<div class="toggle-wrapper">\s*<h4 id="extra".*?</section>\s*(?=<section>|</section>)', re.DOTALL
)
FIRST_SECTION = re.compile(r'<div class="meta build toggle-wrapper">')
TITLE = "Additional documentation"


def link_names(page, html, names):
    def link(match):
        target = names.pages.get(match[1])
        return f'<a href="{target}">{match[0]}</a>' if target and target != page else match[0]

    head, body = html.split("<body>", 1)
    parts = PARTS.split(body)
    parts[::2] = [CODE.sub(link, part) for part in parts[::2]]
    return f"{head}<body>{''.join(parts)}"


def mend_start_page(html):
    html = EMPTY_ROW.sub("", html)
    chapters = CHAPTERS.search(html)
    if chapters is None:
        sys.exit("The first page has no chapters where they were expected")
    html = html.replace(chapters[0], "")
    guide = chapters[0].replace(TITLE, "Guide")
    place = FIRST_SECTION.search(html)
    return html[: place.start()] + guide + html[place.start() :]


def main():
    gir, output, *command = sys.argv[1:]
    output = pathlib.Path(output)
    shutil.rmtree(output, ignore_errors=True)
    command += ["--output-dir", str(output), gir]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # Some of its warnings are not fatal, even when it is told that all are.
    if result.returncode != 0 or "WARNING" in result.stdout:
        sys.exit(result.stdout or "gi-docgen has failed")

    names = SymbolNames(gir)
    for path in output.glob("*.html"):
        html = link_names(path.name, path.read_text(encoding="utf-8"), names)
        if path.name == "index.html":
            html = mend_start_page(html)
        path.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    main()
