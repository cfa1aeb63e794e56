#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs gi-docgen, and then mends its pages.

Usage: build-reference.py GIR OUTPUT_DIR GI_DOCGEN [OPTION]...

In the pages, constants and error codes become links, as all other names are, and the sidebar has the
chapters. The first page begins with them, and leaves out what it has no value for. What a search finds is
shown without markup."""

import importlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

from symbol_names import SymbolNames

translate_text = importlib.import_module("translate-comments").translate_text

PARTS = re.compile(r"(<a\b.*?</a>|<pre\b.*?</pre>)", re.DOTALL)
CODE = re.compile(r"<code>([\w:-]+(?:\(\))?)</code>")
EMPTY_ROW = re.compile(r"<tr><td><em>\w+</em></td><td><a href=\"\".*?</tr>\s*", re.DOTALL)
EXTRA = re.compile(
    r'  <section>\s*<div class="toggle-wrapper">\s*<h4 id="extra".*?</section>\s*(?=<section>|</section>)', re.DOTALL
)
EXTRA_ITEM = re.compile(r'<li><a href="([\w-]+\.html)">(.*?)</a></li>')
SUMMARY = re.compile(r"<!-- Summary: (.*?) -->")
BUILD = '<div class="meta build toggle-wrapper">'
END_OF_SIDEBAR = '<div class="section generator">'
GUIDE = """<section>
    <div class="toggle-wrapper">
      <h4 id="guide" style="display:flex;">Guide <a href="#guide" class="anchor"></a></h4>
      <div class="docblock">
        <table>{}</table>
      </div>
    </div>
  </section>

  """


def link_names(page, html, names):
    def link(match):
        target = names.pages.get(match[1])
        return f'<a href="{target}">{match[0]}</a>' if target and target != page else match[0]

    head, body = html.split("<body>", 1)
    parts = PARTS.split(body)
    parts[::2] = [CODE.sub(link, part) for part in parts[::2]]
    return f"{head}<body>{''.join(parts)}"


def get_chapters(folder):
    """Page, title and summary of each chapter, in their order."""
    extra = EXTRA.search((folder / "index.html").read_text(encoding="utf-8"))
    if extra is None:
        sys.exit("The first page has no chapters where they were expected")
    for page, title in EXTRA_ITEM.findall(extra[0]):
        summary = SUMMARY.search((folder / page).read_text(encoding="utf-8"))
        if summary:
            yield page, title, summary[1]
        elif page != "classes_hierarchy.html":
            sys.exit(f"{page} has no summary")


def mend_start_page(html, chapters):
    """The guide comes first, and nothing is folded up."""
    rows = [f'<tr><td><a href="{page}">{title}</a></td><td>{text}</td></tr>' for page, title, text in chapters]
    html = EMPTY_ROW.sub("", EXTRA.sub("", html)).replace(" default-hide", "")
    return html.replace(BUILD, GUIDE.format("\n".join(rows)) + BUILD, 1)


def add_to_sidebar(page, html, chapters):
    links = [
        f'<a href="{target}"{" class=current" if target == page else ""}>{title}</a>' for target, title, _ in chapters
    ]
    section = f'<div class="section"><h5>Guide</h5><div class="links">{"".join(links)}</div></div>\n      '
    return html.replace(END_OF_SIDEBAR, section + END_OF_SIDEBAR, 1)


def mend_search_index(path):
    """The summaries are shown as they are, so without markup."""
    index = json.loads(path.read_text(encoding="utf-8"))
    for symbol in index["symbols"]:
        if symbol.get("summary"):
            symbol["summary"] = re.sub(r"(?<!\w)[#%@](?=\w)", "", translate_text(symbol["summary"]))
    path.write_text(json.dumps(index), encoding="utf-8")


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
    chapters = list(get_chapters(output))
    mend_search_index(output / "index.json")
    for path in output.glob("*.html"):
        html = link_names(path.name, path.read_text(encoding="utf-8"), names)
        if path.name == "index.html":
            html = mend_start_page(html, chapters)
        else:
            html = add_to_sidebar(path.name, html, chapters)
        path.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    main()
