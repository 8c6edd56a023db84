"""The items of ``--allow`` and ``--deny``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_croloss.cli.recommend.event_table import column_of, first_that_reads, tokens_of
from lightning_croloss.cli.recommend.options import ITEM_COLUMN

if TYPE_CHECKING:
    from lightning_croloss.data.table.options import ReadingOptions
    from lightning_croloss.models import RetrievalModel


class ChosenItems(NamedTuple):
    """Tokens of items.

    Attributes:
        only: the only items to recommend, None for all.
        never: items never to recommend, None for none.
    """

    only: list[Any] | None
    never: list[Any] | None


def chosen_items(
    given: argparse.Namespace, model: RetrievalModel, say: Callable[[str], None] = lambda note: None
) -> ChosenItems:
    """Read the tables of ``--allow`` and ``--deny``.

    Args:
        given: the options of the command.
        model: the model, which knows items.
        say: is told how many of the tokens the model does not know.

    Raises:
        DataError: a file or the column is missing, or cannot be used.
        ValueError: what looks like the header is an item, or no item is left.
    """
    found: dict[str, list[Any] | None] = {"allow": None, "deny": None}
    vocabulary = model.metadata.item_vocabulary
    assert vocabulary is not None
    for name in found:
        file = getattr(given, name)
        if file is None:
            continue
        option = f"--{name} {file}"
        column, tokens = _read(f"--{name}", file, given, model.metadata.reading)
        if given.item_column is None and vocabulary.encode([column])[0]:
            raise ValueError(
                f"{option}: the first line, {column!r}, is an item, but it is taken for the name of the "
                f"column: write a line {ITEM_COLUMN} above it"
            )
        unknown = [
            token for token, number in zip(tokens, vocabulary.encode(tokens), strict=True) if not number
        ]
        if name == "allow" and len(unknown) == len(tokens):
            such = f", such as {unknown[0]!r}" if unknown else ""
            raise ValueError(
                f"{option}: none of its {len(tokens):,} items is known to the model{such}: nothing could be "
                "recommended"
            )
        if unknown:
            say(
                f"{option}: {len(unknown):,} of {len(tokens):,} items are not known to the model, such as "
                f"{unknown[0]!r}"
            )
        found[name] = tokens
    return ChosenItems(found["allow"], found["deny"])


def _read(
    argument: str, file: str, given: argparse.Namespace, trained: Mapping[str, Any] | None
) -> tuple[str, list[Any]]:
    """Return the name and the tokens of a table's item column, or of its only column.

    Args:
        argument: the option, for errors.
        file: a file, a folder or a glob.
        given: the options of the command.
        trained: how the model's training read its events; None if that is not known.

    Raises:
        DataError: a file or the column is missing, or cannot be used.
    """

    def read(options: ReadingOptions) -> tuple[str, list[Any]]:
        from lightning_croloss.data.table.reading import read_table
        from lightning_croloss.data.table.sources import find_files

        files = find_files(argument, file, ".item", options)
        only = list(files[0].columns) if len(files[0].columns) == 1 else []
        column = column_of(given.item_column, (trained or {}).get("item_column"), ITEM_COLUMN, files)
        column = only[0] if only and given.item_column is None else column
        table = read_table(files, {f"the item column of {argument}": column})
        return column, list(tokens_of(table, column).drop_nulls().to_list())

    return first_that_reads(given, trained, read)
