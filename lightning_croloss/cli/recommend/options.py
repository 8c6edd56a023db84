"""The options of ``croloss recommend``."""

from __future__ import annotations

import argparse

from lightning_croloss.cli.plain_parser import PlainParser, add_allow_classes, output_path
from lightning_croloss.common.text_choices import QUOTES, RAGGED

DESCRIPTION = """Recommend items to histories that the model has never seen.

The histories are a table with a row for each event (user, item and perhaps time; Parquet, CSV, TSV, a folder
or a glob), a Parquet file with a list of tokens for each user, or JSON lines on the standard input: a list of
tokens, or {"user": ..., "history": [...]}. A single one may be written out: --history 50 172 181. A table of
events is read, ordered and filtered as the model's training did with its own, unless an option says
otherwise; lists are taken as they are. A model that was trained with times or features of events needs them:
in the columns that they had in training, in lists "times" and of the features' names beside the history, or
as {"history": [...], "times": [...], "event_features": {"rating": [...]}}. The answer is a Parquet or CSV
file with a row for each user and item (user, rank, item, score, and title if the model knows titles), or JSON
lines with a line for each user.

For more users than memory holds, --histories and --output are folders: each table is a partition, read apart
with the whole histories of its users, and answered by a Parquet file of its name. A job that was killed is
started again as it was, and goes on with the partitions that are not complete; --shard shares them out among
several jobs.

A model whose items no process can hold lies in shards: --devices 4, or torchrun on several machines, whose
processes each read their part of the checkpoint. The lists are those of one process."""

USER_COLUMN, ITEM_COLUMN, LIST_COLUMN = "user_id", "item_id", "history"
_AS_TRAINED = "as the model's training, else"


def recommend_parser() -> PlainParser:
    """Return the parser of the words after ``croloss recommend``."""
    parser = PlainParser(
        prog="croloss recommend",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, help="a zoo model, a folder, hf://owner/name, or the .ckpt file of a run")
    add("--histories", help="the table; - is JSON lines on the standard input (default)")
    add("--history", nargs="+", metavar="TOKEN", help="one history in place of a table, oldest item first")
    add(
        "--output",
        type=output_path,
        help="a .parquet, .csv, .tsv or .jsonl file, or a folder where --histories is one of partitions; "
        "without: JSON lines on the standard output",
    )
    add("--n", type=int, default=100, help="number of items for each user (100)")
    add(
        "--exclude-history",
        action=argparse.BooleanOptionalAction,
        help="whether to leave out the items of the history (as the model does in evaluation)",
    )
    add(
        "--include-history",
        dest="exclude_history",
        action="store_false",
        default=None,
        help="the same as --no-exclude-history",
    )
    add("--allow", help="a table of the only items to recommend: its item column, or its only one")
    add("--deny", help="a table of items never to recommend")
    add("--users", help="a table of features of users, for those whom the model does not know")
    add("--user-column", help=f"column of the users (as in training, else {USER_COLUMN})")
    add("--item-column", help=f"column of the items (as in training, else {ITEM_COLUMN})")
    add(
        "--time-column",
        help="column that orders a user's events, '' for the order of the rows (as in training if the table "
        "has that column, else the order of the rows)",
    )
    add(
        "--all-events",
        action="store_true",
        default=None,
        help="keep events of a table that the model's training left out of histories, such as low ratings "
        "and repeats (left out as in training)",
    )
    add("--history-column", help=f"column of the lists ({LIST_COLUMN})")
    add("--overwrite", action="store_true", help="replace the output if it exists")
    add(
        "--shard",
        metavar="I/OF",
        help="of the partitions of a folder the i-th, (i + of)-th, … alone, such as 1/4 (all)",
    )
    add(
        "--devices",
        type=int,
        help="number of processes, each of which holds and searches a part of the items (1; under torchrun "
        "those that it starts)",
    )
    _add_reading_options(parser)
    add_allow_classes(parser)
    return parser


def _add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a table is read; one that is not given is as in training."""
    add = parser.add_argument
    add("--separator", help=f"between the fields of text ({_AS_TRAINED} guessed)")
    add("--encoding", help=f"of text, such as latin-1 or utf-16 ({_AS_TRAINED} utf-8)")
    add("--decimal", choices=(".", ","), help=f"before the decimals of text ({_AS_TRAINED} a point)")
    add("--comment", help=f"what lines of text begin with that are no rows ({_AS_TRAINED} guessed)")
    add("--ragged", choices=RAGGED, help=f"lines of another number of fields ({_AS_TRAINED} an error)")
    add("--quotes", choices=QUOTES, help=f"what quotes in text mean ({_AS_TRAINED} auto)")
    add("--missing-values", nargs="*", help=f"texts that mean 'missing' ({_AS_TRAINED} none)")
    add(
        "--drop-missing",
        action=argparse.BooleanOptionalAction,
        help=f"leave out events that lack a value ({_AS_TRAINED} refuse them)",
    )
