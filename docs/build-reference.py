#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs gi-docgen, and then edits its pages.

Usage: build-reference.py GIR OUTPUT_DIR GI_DOCGEN [OPTION]...

In the pages, constants and error codes become links, like all other names, and the sidebar contains the
chapters. The first page begins with the chapters, and omits empty entries. Search results are shown without
markup. reference.css improves the style."""

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
WORD = re.compile(r"(<code>.*?</code>|<[^>]*>)|(?<![\w.])(\w+\(\))", re.DOTALL)
LONG_CALL = re.compile(r"^(<code>[^(<]*\()([^<]{4,})(?=</code>)")
CODE = re.compile(r"<code>([\w:-]+(?:\(\))?)</code>")
EMPTY_ROW = re.compile(r"<tr><td><em>\w+</em></td><td><a href=\"\".*?</tr>\s*", re.DOTALL)
EXTRA = re.compile(
    r'  <section>\s*<div class="toggle-wrapper">\s*<h4 id="extra".*?</section>\s*(?=<section>|</section>)', re.DOTALL
)
EXTRA_ITEM = re.compile(r'<li><a href="([\w-]+\.html)">(.*?)</a></li>')
SUMMARY = re.compile(r"<!-- Summary: (.*?) -->")
SECOND_TITLE = re.compile(r'<h4 id="title".*?</h4>\s*(?=<section>\s*<div class="docblock">\s*<h1)', re.DOTALL)
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


def mark_functions(html):
    """gi-docgen does not recognize a function next to a punctuation mark. A long call can be broken."""

    def mark(match):
        code, function = match.groups()
        if function:
            return f"<code>{function}</code>"
        return LONG_CALL.sub(r"\1<wbr>\2", code)

    return WORD.sub(mark, html)


def link_names(page, html, names):
    def link(match):
        target = names.pages.get(match[1])
        return f'<a href="{target}">{match[0]}</a>' if target and target != page else match[0]

    head, body = html.split("<body>", 1)
    parts = PARTS.split(body)
    parts[::2] = [CODE.sub(link, mark_functions(part)) for part in parts[::2]]
    return f"{head}<body>{''.join(parts)}"


def get_chapters(folder):
    """Page, title and summary of each chapter, in reading order."""
    extra = EXTRA.search((folder / "index.html").read_text(encoding="utf-8"))
    if extra is None:
        sys.exit("The first page has no place for the chapters")
    for page, title in EXTRA_ITEM.findall(extra[0]):
        summary = SUMMARY.search((folder / page).read_text(encoding="utf-8"))
        if summary:
            yield page, title, summary[1]
        elif page != "classes_hierarchy.html":
            sys.exit(f"{page} has no summary")


def mend_start_page(html, chapters):
    """The guide comes first, and nothing is collapsed."""
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
    """The summaries are shown verbatim, so without markup."""
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
    # Some of its warnings are not fatal, even with --fatal-warnings.
    if result.returncode != 0 or "WARNING" in result.stdout:
        sys.exit(result.stdout or "gi-docgen has failed")

    names = SymbolNames(gir)
    chapters = list(get_chapters(output))
    mend_search_index(output / "index.json")
    with (output / "style.css").open("a", encoding="utf-8") as style:
        style.write(pathlib.Path(__file__).with_name("reference.css").read_text(encoding="utf-8"))
    for path in output.glob("*.html"):
        html = link_names(path.name, path.read_text(encoding="utf-8"), names)
        if path.name == "index.html":
            html = mend_start_page(html, chapters)
        else:
            # Newer versions of gi-docgen add the title of a chapter, which begins with its own title.
            html = add_to_sidebar(path.name, SECOND_TITLE.sub("", html), chapters)
        path.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    main()
