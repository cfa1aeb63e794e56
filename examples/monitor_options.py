# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The options of the monitor. The manual page is generated from them, without GTK."""

import argparse


def create_parser(version=None, prog=None):
    """The version is that of the library, if it is known."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Hashes files through a buffer pool, and shows how the pool slows down its readers.",
        epilog="Without files, the window has a button to choose a folder.",
    )
    parser.add_argument("paths", nargs="*", metavar="FILE-OR-FOLDER")
    parser.add_argument("--repeat", action="store_true", help="start again at the end")
    parser.add_argument("--report", action="store_true", help="also print the figures as JSON")
    text = f"%(prog)s (libbufpool) {version}"
    parser.add_argument("--version", action="version", version=text, help="print the version")
    return parser


if __name__ == "__main__":
    create_parser(prog="bufpool-monitor").parse_args()
