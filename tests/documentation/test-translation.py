#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Tests how comments and chapters are translated for the two references. Usage: test-translation.py DOCS GIR"""

import importlib.util
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, equal, run_checks  # noqa: E402

DOCS, GIR = pathlib.Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(DOCS))


def load(name):
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


comments = load("translate-comments")
chapters = load("translate-chapters")
names = chapters.SymbolNames(GIR)

LINKS = {
    "[method@Pool.allocate]": "buf_pool_allocate()",
    "[method@PoolAllocation.get_buffer_size]": "buf_pool_allocation_get_buffer_size()",
    "[method@PoolAllocationIter.init]": "buf_pool_allocation_iter_init()",
    "[method@Gio.InputStream.read_all]": "g_input_stream_read_all()",
    "[ctor@Pool.new]": "buf_pool_new()",
    "[class@Pool]": "#BufPool",
    "[class@BufPool]": "#BufPool",
    "[struct@PoolAllocation]": "#BufPoolAllocation",
    "[struct@GLib.Bytes]": "#GBytes",
    "[enum@BufPool.BufferSize]": "#BufBufferSize",
    "[error@PoolError]": "#BufPoolError",
    "[property@Pool:max-memory]": "#BufPool:max-memory",
    "[signal@GObject.Object::notify]": "#GObject::notify",
    "[func@GLib.malloc]": "g_malloc()",
    "[const@BufPool.POOL_UNLIMITED]": "%BUF_POOL_UNLIMITED",
    "[id@g_object_unref]": "g_object_unref()",
    "[the pool][class@Pool]": "the pool (#BufPool)",
}
FUNCTION = """int a[1]; /* [class@Pool] is not a comment for us */
/**
 * buf_pool_close: (set-property closed)
 * @self: a [class@Pool]
 *
 * Text.
 *
 * ```c
 * a[0] = "[class@Pool]";
 * ```
 *
 * See [method@Pool.drain].
 */
"""
FUNCTION_TRANSLATED = """int a[1]; /* [class@Pool] is not a comment for us */
/**
 * buf_pool_close:
 * @self: a #BufPool
 *
 * Text.
 *
 * |[<!-- language="C" -->
 * a[0] = "[class@Pool]";
 * ]|
 *
 * See buf_pool_drain().
 */
"""
ESSAY = """/**
 * BufPool:
 *
 * A pool of [struct@PoolAllocation].
 *
 * More.
 *
 * Since: 1.0
 */
"""
ESSAY_TRANSLATED = """/**
 * SECTION:buf-pool
 * @Title: BufPool
 * @Short_description: a pool of #BufPoolAllocation
 *
 * A pool of #BufPoolAllocation.
 *
 * More.
 *
 *
 */

/**
 * BufPool:
 *
 * A pool of #BufPoolAllocation.
 *
 * Since: 1.0
 */
"""
CHAPTER = """# A title

See `buf_pool_close()`, `malloc()`, [that](other.md#place), [this](#below) and [the code](../examples/digest.c).

![A picture](images/budget.svg)

## Below

```c
int `buf_pool_close()`;
```
"""


def check_links():
    for link, translated in LINKS.items():
        equal(comments.translate_text(f" * See {link}, then"), f" * See {translated}, then")


def check_sources():
    """Names in the sources refer to existing symbols."""
    for source in (DOCS.parent / "bufpool").rglob("*.[ch]"):
        text = comments.translate(source.read_text(encoding="utf-8"))
        for comment in comments.COMMENT.findall(text):
            if comments.LINK.search(comments.CODE.sub("", comment[1])) or "```" in comment[1]:
                raise Failure(f"{source.name}: left as it was:\n{comment[1]}")


def check_for_gi_docgen():
    equal(
        chapters.to_gi_docgen(CHAPTER, names, ["other"]),
        "Title: A title\n\n"
        + CHAPTER.replace("`buf_pool_close()`,", "[`buf_pool_close()`](method.Pool.close.html),")
        .replace("other.md#place", "other.html#place")
        .replace("[the code](../examples/digest.c)", "the code")
        .replace("images/budget.svg", "budget.svg"),
    )


def check_for_gtk_doc():
    root = ElementTree.fromstring(chapters.to_gtk_doc(CHAPTER, DOCS / "a.md", names, ["other"]).split("\n", 3)[3])
    equal((root.tag, root.get("id"), root.findtext("title")), ("chapter", "a", "A title"))
    equal([link.get("linkend") for link in root.iter("link")], ["buf-pool-close", "other.place", "a.below"])
    equal([text.text for text in root.iter("literal")], ["buf_pool_close()", "malloc()"])
    equal([data.get("fileref") for data in root.iter("imagedata")], ["budget.svg"])
    equal([data.get("width") for data in root.iter("imagedata")], ["100%"])
    section = root.find("section")
    equal((section.get("id"), section.findtext("title")), ("a.below", "Below"))
    listing = section.find("informalexample/programlisting")
    equal((listing.get("language"), listing.text), ("C", "int `buf_pool_close()`;\n"))


def check_wrong_name():
    for translate in (
        lambda text: chapters.to_gi_docgen(text, names, []),
        lambda text: chapters.to_gtk_doc(text, DOCS / "a.md", names, []),
    ):
        for wrong in ("buf_pool_clsoe()", "BUF_POOL_ERROR_NONE", "BufPool:size"):
            try:
                translate(f"# A\n\nSee `{wrong}`.\n")
            except LookupError:
                continue
            raise Failure(f"{wrong} was accepted")


def check_names():
    equal(names.pages["BufPool:max-memory"], "property.Pool.max-memory.html")
    equal(names.pages["BUF_POOL_ERROR_CLOSED"], "error.PoolError.html#closed")
    equal(names.identifiers["BUF_POOL_ERROR_CLOSED"], "BUF-POOL-ERROR-CLOSED:CAPS")
    equal(names.identifiers["BufPool:max-memory"], "BufPool--max-memory")


sys.exit(
    run_checks(
        [
            ("comments: links", check_links),
            ("comments: a function", lambda: equal(comments.translate(FUNCTION), FUNCTION_TRANSLATED)),
            ("comments: an essay", lambda: equal(comments.translate(ESSAY, "buf-pool"), ESSAY_TRANSLATED)),
            ("comments: nothing is left in the sources", check_sources),
            ("chapters: names", check_names),
            ("chapters: for gi-docgen", check_for_gi_docgen),
            ("chapters: for gtk-doc", check_for_gtk_doc),
            ("chapters: a wrong name is found", check_wrong_name),
        ]
    )
)
