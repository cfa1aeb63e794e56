# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The information that introspection has about BufPool, with PyGObject of any version."""

import gi
from gi.repository import GObject


def infos():
    return {info.get_name(): info for info in gi.Repository.get_default().get_infos("BufPool")}


def methods(info):
    return info.get_methods() if hasattr(info, "get_methods") else []


def properties(info):
    return info.get_properties() if hasattr(info, "get_properties") else []


def taken(method):
    """The names of the parameters in Python: without return values, and without the lengths of arrays."""
    arguments = method.get_arguments()
    lengths = [length_index(argument) for argument in arguments]
    return [a.get_name() for i, a in enumerate(arguments) if i not in lengths and int(a.get_direction()) == 0]


def length_index(argument):
    """The argument that contains the length of this one; None if it is not an array."""
    # PyGObject 3.52 has new names for both.
    kind = argument.get_type_info() if hasattr(argument, "get_type_info") else argument.get_type()
    if kind.get_tag_as_string() != "array":
        return None
    return kind.get_array_length_index() if hasattr(kind, "get_array_length_index") else kind.get_array_length()


def is_settable(property_info):
    """Whether it can be set after construction. Otherwise, trying to set it is a critical warning in GLib
    2.84."""
    flags = int(property_info.get_flags())
    return bool(flags & GObject.ParamFlags.WRITABLE) and not flags & GObject.ParamFlags.CONSTRUCT_ONLY
