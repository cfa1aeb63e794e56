# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Where the two references document a symbol: SymbolNames, created from a GIR."""

import xml.etree.ElementTree as ElementTree

CORE = "{http://www.gtk.org/introspection/core/1.0}"
C = "{http://www.gtk.org/introspection/c/1.0}"
GLIB = "{http://www.gtk.org/introspection/glib/1.0}"

KINDS = {"class": "class", "record": "struct", "enumeration": "enum", "bitfield": "flags"}
FUNCTIONS = {"method": "method", "constructor": "ctor", "function": "type_func"}


class SymbolNames:
    """Knows, for each public C name, such as BufPool, buf_pool_close(), BUF_POOL_ERROR_CLOSED and
    BufPool:closed, the page of gi-docgen, and the identifier that gtk-doc assigns."""

    def __init__(self, gir):
        self.pages = {}
        self.identifiers = {}
        namespace = ElementTree.parse(gir).getroot().find(CORE + "namespace")
        for element in namespace:
            kind = element.tag.removeprefix(CORE)
            name = element.get("name")
            if kind in KINDS:
                self._add_type(element, kind, name)
            elif kind == "constant":
                self._add(element.get(C + "type"), f"const.{name}.html", capitals=True)
            elif kind == "function-macro":
                self._add(element.get(C + "identifier"), f"func.{name}.html", capitals=True)
                self._add(element.get(C + "identifier") + "()", f"func.{name}.html", capitals=True)
            elif kind == "function" and not element.get("moved-to"):
                self._add_function(element, f"func.{name}.html")

    def _add_type(self, element, kind, name):
        fragment = "error" if element.get(GLIB + "error-domain") else KINDS[kind]
        page = f"{fragment}.{name}.html"
        self._add(element.get(C + "type"), page)
        for part in element:
            part_kind = part.tag.removeprefix(CORE)
            if part_kind == "member":
                self._add(part.get(C + "identifier"), f"{page}#{part.get('name')}", capitals=True)
            elif part_kind == "property":
                part_name = part.get("name")
                self._add(f"{element.get(C + 'type')}:{part_name}", f"property.{name}.{part_name}.html")
            elif part_kind in FUNCTIONS:
                self._add_function(part, f"{FUNCTIONS[part_kind]}.{name}.{part.get('name')}.html")

    def _add_function(self, element, page):
        self._add(element.get(C + "identifier") + "()", page)

    def _add(self, name, page, capitals=False):
        if name is None:
            return
        self.pages[name] = page
        identifier = name.removesuffix("()").replace("_", "-").replace(":", "--")
        self.identifiers[name] = identifier + (":CAPS" if capitals else "")

    def check(self, name):
        """Raises LookupError if @name looks like a name of the library, but does not exist."""
        ours = name.startswith(("buf_pool", "buf_budget", "buf_permit", "BUF_POOL_ERROR_", "BUF_BUFFER_SIZE_", "BufPool", "BufBudget", "BufPermit"))
        whole = name.endswith("()") or not name.startswith("buf_")
        if ours and whole and name.replace("_", "").replace(":", "").replace("-", "").removesuffix("()").isalnum():
            if name not in self.pages:
                raise LookupError(f"there is no {name}")
