"""The options of ``croloss data partition``."""

from __future__ import annotations

import argparse

from lightning_croloss.cli.plain_parser import PlainParser, output_path
from lightning_croloss.common.text_choices import QUOTES, RAGGED

DESCRIPTION = """Divide a table of events by user, so that each process of a training reads its own part.

The table is a file, a folder or a glob (Parquet, CSV, TSV or .inter). The output is a folder of Parquet
files, each with the whole histories of its users, for data.partitioned_by_user=true; and an ordinary folder
of tables for everything else. Parquet is read in a stream, a text file is in memory while it is divided. The
folder is there whole or not at all: a command that was killed is started again as it was, and begins anew."""


def partition_parser() -> PlainParser:
    """Return the parser of the words after ``croloss data partition``."""
    parser = PlainParser(
        prog="croloss data partition",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--interactions", required=True, nargs="+", help="the events: files, folders or globs")
    add("--output", required=True, type=output_path, help="the folder to write")
    add("--partitions", type=int, default=64, help="number of files, at least one for each process (64)")
    add("--user-column", default="user_id", help="column of the users (user_id)")
    add("--item-column", default="item_id", help="column of the items (item_id)")
    add(
        "--time-column",
        help="column of the times, '' for the order of the rows (timestamp, if there is such a column)",
    )
    add("--columns", nargs="*", help="columns to keep besides those of users, items and times (all)")
    add("--overwrite", action="store_true", help="replace an earlier folder of partitions")
    add("--missing-values", nargs="*", default=[], help="texts that mean 'missing' (none)")
    add(
        "--drop-missing",
        action="store_true",
        help="leave out events without a user, an item or a time (refuse them)",
    )
    add("--separator", help="between the fields of text (guessed)")
    add("--encoding", help="of text, such as latin-1 or utf-16 (utf-8)")
    add("--decimal", choices=(".", ","), default=".", help="before the decimals of text (a point)")
    add("--comment", help="what lines of text begin with that are no rows (guessed)")
    add("--ragged", choices=RAGGED, default="error", help="lines of another number of fields (an error)")
    add("--quotes", choices=QUOTES, default="auto", help="what quotes in text mean (auto)")
    return parser
