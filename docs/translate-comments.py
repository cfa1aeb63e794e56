#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Copies sources, and converts their documentation from the syntax of gi-docgen to that of gtk-doc.

Usage: translate-comments.py OUTPUT_DIR SOURCE...

The comments are written for gi-docgen. In the copies, links become the links of gtk-doc, fenced code becomes
a listing, and the essay on a type becomes the description of its page."""

import pathlib
import re
import sys

PREFIXES = {"BufPool": "Buf", "GLib": "G", "GObject": "G", "Gio": "G"}
LANGUAGES = {"c": "C", "vala": "Vala", "python": "Python", "javascript": "JavaScript"}

COMMENT = re.compile(r"^( *)/\*\*\n(.*?)^ *\*/\n", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?:\[(?P<text>[^\]@]+)\])?\[(?P<kind>[a-z]+)@(?P<target>[\w.:-]+)\]")
FENCE = re.compile(r"^( *\* ?)```(\w*)$", re.MULTILINE)
CODE = re.compile(r"^ *\* ?```.*?^ *\* ?```$", re.MULTILINE | re.DOTALL)
# Annotations that gtk-doc does not know.
ANNOTATIONS = re.compile(r" \((?:getter|setter|get-property|set-property) [\w-]+\)")
TYPE_ESSAY = re.compile(r"^ *\* (Buf[A-Z]\w*):(?: \([\w -]+\))*\n")


def snake_case(name):
    """BufPoolAllocation as a part of a function name."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def c_type(words):
    """Takes a type from the front of @words: its namespace, if there is one, and its name."""
    if len(words) > 1 and words[0] in PREFIXES:
        return PREFIXES[words.pop(0)] + words.pop(0)
    name = words.pop(0)
    return name if name.startswith("Buf") else "Buf" + name


def translate_link(match):
    kind, target = match["kind"], match["target"]
    if kind in ("class", "struct", "enum", "error", "flags", "iface", "callback", "type"):
        symbol = "#" + c_type(target.split("."))
    elif kind in ("property", "signal"):
        separator = "::" if kind == "signal" else ":"
        owner, name = target.split(separator)
        symbol = f"#{c_type(owner.split('.'))}{separator}{name}"
    elif kind in ("method", "ctor"):
        words = target.split(".")
        symbol = f"{snake_case(c_type(words))}_{words[0]}()"
    elif kind == "func":
        *namespace, name = target.split(".")
        symbol = f"{PREFIXES[(namespace or ['BufPool'])[0]].lower()}_{name}()"
    elif kind == "const":
        *namespace, name = target.split(".")
        symbol = f"%{PREFIXES[(namespace or ['BufPool'])[0]].upper()}_{name}"
    elif kind == "id":
        symbol = f"{target}()"
    else:
        raise ValueError(f"{match[0]}: unknown kind {kind}")
    return f"{match['text']} ({symbol})" if match["text"] else symbol


def translate_code(match):
    def translate_fence(fence):
        if not fence[2] and fence.start() > 0:
            return fence[1] + "]|"
        language = f'<!-- language="{LANGUAGES[fence[2]]}" -->' if fence[2] else ""
        return f"{fence[1]}|[{language}"

    return FENCE.sub(translate_fence, match[0])


def translate_text(text):
    """There are no links in code."""
    parts = []
    end = 0
    for code in CODE.finditer(text):
        parts += [LINK.sub(translate_link, text[end : code.start()]), translate_code(code)]
        end = code.end()
    return "".join(parts) + LINK.sub(translate_link, text[end:])


def translate_comment(match, page):
    indent = match[1]
    first_line, rest = match[2].split("\n", 1)
    body = translate_text(ANNOTATIONS.sub("", first_line) + "\n" + rest)
    essay = TYPE_ESSAY.match(body)
    if not indent and essay and page:
        # gtk-doc shows the description of a type in the middle of its page. So the description is repeated:
        # in full at the top, and in short there.
        text = body[essay.end() :]
        first, _, _ = text.lstrip(" *\n").partition("\n *\n")
        since = re.findall(r"^ \* Since: .*\n", text, re.MULTILINE)
        section = f" * SECTION:{page}\n * @Title: {essay[1]}\n * @Short_description: {summary(first)}\n"
        return (
            f"/**\n{section}{re.sub(r'^ [*] Since: .*', ' *', text, flags=re.MULTILINE)} */\n\n"
            f"/**\n * {essay[1]}:\n *\n * {first.strip()}\n *\n{''.join(since)} */\n"
        )
    return f"{indent}/**\n{body}{indent} */\n"


def summary(paragraph):
    text = " ".join(line.strip(" *") for line in paragraph.splitlines()).rstrip(".")
    return text[0].lower() + text[1:]


def translate(source, page=None):
    """The source with its documentation in the syntax of gtk-doc. @page is the page that the type of this
    file gets."""
    return COMMENT.sub(lambda match: translate_comment(match, page), source)


def main():
    output = pathlib.Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    for source in map(pathlib.Path, sys.argv[2:]):
        page = source.stem if source.suffix == ".c" else None
        (output / source.name).write_text(translate(source.read_text(encoding="utf-8"), page), encoding="utf-8")


if __name__ == "__main__":
    main()
