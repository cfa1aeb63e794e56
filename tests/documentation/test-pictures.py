#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Checks that the pictures match their sources.
Usage: test-pictures.py FOLDER DOT

Compares the labels, and the names of nodes and edges, because positions depend on the version of graphviz."""

import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from tap import Failure, equal, run_checks  # noqa: E402

FOLDER, DOT = pathlib.Path(sys.argv[1]), sys.argv[2]
SVG = "{http://www.w3.org/2000/svg}"


def get_words(drawing):
    root = ElementTree.fromstring(drawing)
    return sorted("".join(e.itertext()).strip() for tag in ("text", "title") for e in root.iter(SVG + tag))


def check_of(source):
    def check():
        drawn = subprocess.run([DOT, "-Tsvg", source], stdout=subprocess.PIPE, check=True).stdout
        words = get_words(source.with_suffix(".svg").read_bytes())
        if len(words) < 5:
            raise Failure("there is nothing in it")
        try:
            equal(words, get_words(drawn))
        except Failure as failure:
            raise Failure(f"{failure}\nRun docs/images/regenerate") from failure

    return check


def check_background(drawing):
    """A picture is shown on a page that may be dark."""
    polygon = ElementTree.parse(drawing).getroot().find(f".//{SVG}polygon")
    equal(polygon.get("fill"), "#fcfcfa")


sources = sorted(FOLDER.glob("*.dot"))
drawings = sorted(FOLDER.glob("*.svg"))
checks = [("each picture has a source", lambda: equal([p.stem for p in drawings], [p.stem for p in sources]))]
checks += [(f"{source.stem} is as its source says", check_of(source)) for source in sources]
checks += [(f"{p.stem} has a background", lambda p=p: check_background(p)) for p in drawings]
sys.exit(run_checks(checks))
