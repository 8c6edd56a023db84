"""Histories to recommend to, batch after batch: from a table of events, lists of them, or JSON lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from croloss_serving.common.arrow_tokens import token_type
from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss.cli.recommend.event_filters import KEPT
from lightning_croloss.cli.recommend.event_table import read_event_table
from lightning_croloss.cli.recommend.histories import Histories
from lightning_croloss.cli.recommend.json_histories import is_json_lines, read_json_file, read_json_lines
from lightning_croloss.cli.recommend.list_histories import has_lists, read_lists

__all__ = [
    "Histories",
    "has_lists",
    "is_json_lines",
    "read_events",
    "read_json_file",
    "read_json_lines",
    "read_lists",
]


def read_events(
    given: argparse.Namespace,
    trained: Mapping[str, Any] | None,
    size: int,
    say: Callable[[str], None] = lambda note: None,
    events: EventInputs | None = None,
) -> Iterator[Histories]:
    """Yield the histories of a table with a row for each event; its columns are sorted in memory.

    Args:
        given: the options of the command, None where they were not given; ``histories`` is a file, a folder
            or a glob: Parquet, CSV, TSV, or RecBole's atomic files.
        trained: how the model's training read its events; None if that is not known.
        size: number of users in a batch.
        say: is told how the events are ordered, and what is left out.
        events: what the model reads of events besides their items; None = nothing.

    Raises:
        DataError: a file or a column is missing, or a row lacks a value.
    """
    inputs = events or EventInputs()
    table = read_event_table(given, trained, inputs)
    for note in table.notes:
        say(note)
    import polars as pl  # which reading has seen to be there

    frame = table.frame
    # users in the order of their first row, with those of whose events none is kept
    columns = pl.exclude("user")
    if KEPT in frame.columns:
        columns = pl.exclude("user", KEPT).filter(pl.col(KEPT))
    grouped = frame.group_by("user", maintain_order=True).agg(columns)
    user_type = token_type([grouped["user"].max()]) if str(grouped["user"].dtype) == "UInt64" else None
    for first in range(0, grouped.height, size):
        part = grouped[first : first + size]
        yield Histories(
            part["user"].to_list(),
            part["item"].to_list(),
            user_type,
            times=None if inputs.times is None else part["time"].to_list(),
            event_features={
                name: part[f"feature {number}"].to_list() for number, name in enumerate(inputs.names)
            },
        )
