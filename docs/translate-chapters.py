#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Converts the chapters, which are plain Markdown, to chapters of the two references.

Usage: translate-chapters.py gi-docgen|gtk-doc GIR OUTPUT_DIR CHAPTER...

They stay Markdown for gi-docgen, and become DocBook for gtk-doc. In both, symbol names and links to other
chapters become links; links to files that are in no reference become plain text."""

import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

import markdown

from symbol_names import SymbolNames

FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<![`\[])`([^`\n]+)`(?!`)")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")

# Wider pictures, in points, are scaled to the width of the page.
WIDE = 600

# gtk-doc highlights every listing as C.
LISTINGS = {"c": "C", "vala": "Vala"}


def split_target(target, chapters):
    """The chapter and the anchor that a link points to; or None if it points elsewhere."""
    path, _, anchor = target.partition("#")
    name = pathlib.PurePath(path).stem
    if (path.endswith(".md") and name in chapters and "/" not in path) or not path:
        return name, anchor
    return None


def is_wide(picture):
    """Whether a picture is wider than the page. Screenshots always are."""
    if picture.suffix != ".svg":
        return True
    return float(ElementTree.parse(picture).getroot().get("width").removesuffix("pt")) > WIDE


def to_gi_docgen(text, names, chapters):
    def link_code(match):
        names.check(match[1])
        page = names.pages.get(match[1])
        return f"[`{match[1]}`]({page})" if page else match[0]

    def link(match):
        picture, shown, target = match.groups()
        if picture:
            return f"![{shown}]({pathlib.PurePath(target).name})"
        if re.match(r"\w+:", target):
            return match[0]
        where = split_target(target, chapters)
        if where is None:
            return shown
        return f"[{shown}]({where[0] + '.html' if where[0] else ''}{'#' + where[1] if where[1] else ''})"

    parts = FENCED.split(text)
    parts[::2] = [CODE.sub(link_code, LINK.sub(link, part)) for part in parts[::2]]
    title = re.match(r"# (.*)\n", text)[1]
    return f"Title: {title}\n\n" + "".join(parts)


class DocBook:
    """A chapter that is converted from HTML to DocBook."""

    SAME = {
        "ul": "itemizedlist", "ol": "orderedlist", "table": "informaltable", "thead": "thead", "tbody": "tbody",
        "tr": "tr", "th": "th", "td": "td", "p": "para", "em": "emphasis", "blockquote": "blockquote",
    }  # fmt: skip

    def __init__(self, path, names, chapters):
        self.name = path.stem
        self.folder = path.parent
        self.names = names
        self.chapters = chapters

    def convert(self, html):
        """The chapter. In HTML, headings are between the other elements; in DocBook, sections are nested."""
        chapter = ElementTree.Element("chapter", id=self.name)
        # One page for each chapter.
        chapter.append(ElementTree.ProcessingInstruction("dbhtml", "stop-chunking"))
        levels = [chapter]
        for element in html:
            if re.fullmatch(r"h[1-6]", element.tag):
                level = int(element.tag[1])
                del levels[max(level - 1, 1) :]
                if level > 1:
                    levels.append(ElementTree.SubElement(levels[-1], "section", id=self.anchor(element.get("id"))))
                self.fill(ElementTree.SubElement(levels[-1], "title"), element)
            else:
                self.add(levels[-1], element)
        return chapter

    def anchor(self, anchor, chapter=None):
        return f"{chapter or self.name}.{anchor}"

    def fill(self, target, element):
        target.text = element.text
        for child in element:
            self.add(target, child)
            last = target[-1] if len(target) else None
            if last is None:
                target.text = (target.text or "") + (child.tail or "")
            else:
                last.tail = (last.tail or "") + (child.tail or "")

    def add(self, parent, element):
        make = getattr(self, "add_" + element.tag, None)
        if make:
            make(parent, element)
        elif element.tag in self.SAME:
            self.fill(ElementTree.SubElement(parent, self.SAME[element.tag]), element)
        else:
            raise ValueError(f"{self.name}: <{element.tag}> is not supported")

    def add_strong(self, parent, element):
        self.fill(ElementTree.SubElement(parent, "emphasis", role="strong"), element)

    def add_li(self, parent, element):
        item = ElementTree.SubElement(parent, "listitem")
        if element.find("p") is None:
            item = ElementTree.SubElement(item, "para")
        self.fill(item, element)

    def add_pre(self, parent, element):
        code = element.find("code")
        language = LISTINGS.get((code.get("class") or "").removeprefix("language-"))
        if language is None:
            ElementTree.SubElement(parent, "screen").text = code.text
            return
        example = ElementTree.SubElement(parent, "informalexample")
        attributes = {"role": "example", "language": language}
        ElementTree.SubElement(example, "programlisting", attributes).text = code.text

    def add_code(self, parent, element):
        self.names.check(element.text)
        identifier = self.names.identifiers.get(element.text)
        if identifier:
            parent = ElementTree.SubElement(parent, "link", linkend=identifier)
        ElementTree.SubElement(parent, "literal").text = element.text

    def add_a(self, parent, element):
        target = element.get("href")
        where = split_target(target, self.chapters)
        if re.match(r"\w+:", target):
            self.fill(ElementTree.SubElement(parent, "ulink", url=target), element)
        elif where is None:
            self.fill(ElementTree.SubElement(parent, "phrase"), element)
        else:
            chapter, anchor = where
            linkend = self.anchor(anchor, chapter) if anchor else chapter
            self.fill(ElementTree.SubElement(parent, "link", linkend=linkend), element)

    def add_img(self, parent, element):
        picture = ElementTree.SubElement(parent, "inlinemediaobject")
        data = ElementTree.SubElement(picture, "imageobject")
        image = ElementTree.SubElement(data, "imagedata", fileref=pathlib.PurePath(element.get("src")).name)
        if is_wide(self.folder / element.get("src")):
            image.set("width", "100%")
        text = ElementTree.SubElement(picture, "textobject")
        ElementTree.SubElement(text, "phrase").text = element.get("alt")


def to_gtk_doc(text, path, names, chapters):
    body = markdown.markdown(text, extensions=["fenced_code", "tables", "toc"], output_format="xhtml")
    chapter = DocBook(path, names, chapters).convert(ElementTree.fromstring(f"<body>{body}</body>"))
    return (
        '<?xml version="1.0"?>\n<!DOCTYPE chapter PUBLIC "-//OASIS//DTD DocBook XML V4.3//EN"\n'
        '  "http://www.oasis-open.org/docbook/xml/4.3/docbookx.dtd">\n'
        + ElementTree.tostring(chapter, encoding="unicode")
    )


def main():
    reference, gir, output = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    paths = [pathlib.Path(path) for path in sys.argv[4:]]
    names = SymbolNames(gir)
    chapters = [path.stem for path in paths]
    output.mkdir(parents=True, exist_ok=True)
    for path in paths:
        text = path.read_text(encoding="utf-8")
        try:
            if reference == "gi-docgen":
                (output / path.name).write_text(to_gi_docgen(text, names, chapters), encoding="utf-8")
            else:
                (output / f"{path.stem}.xml").write_text(to_gtk_doc(text, path, names, chapters), encoding="utf-8")
        except LookupError as error:
            sys.exit(f"{path}: {error}")


if __name__ == "__main__":
    main()
