"""``vocabulary.parquet``: the token, the training events and perhaps the title of each item."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import torch

from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.errors import MissingExtraError, PretrainedError
from lightning_croloss.models.metadata import CheckpointFacts


def write_vocabulary(path: Path, facts: CheckpointFacts, titles: bool) -> None:
    """Write the items of a model's facts, in the order of their ids from 1 on.

    Args:
        path: the file.
        facts: the facts; their vocabulary must be known.
        titles: whether to write the titles, if there are any.
    """
    pyarrow, parquet = _pyarrow()
    assert facts.item_vocabulary is not None
    counts = None if facts.item_counts is None else facts.item_counts[1:].tolist()
    tokens = facts.item_vocabulary.tokens
    large = facts.item_vocabulary.integers and max(tokens) >= 2**63
    columns = {
        "token": pyarrow.array(tokens, pyarrow.uint64() if large else None),
        "count": pyarrow.array(counts or [None] * len(tokens), pyarrow.int64()),
    }
    if titles and facts.item_titles is not None:
        columns["title"] = pyarrow.array(facts.item_titles, pyarrow.string())
    parquet.write_table(pyarrow.table(columns), path, compression="zstd")


def read_vocabulary(path: Path, facts: CheckpointFacts, num_items: int) -> None:
    """Read the items into the facts of a model of ``num_items`` items.

    Raises:
        PretrainedError: the file is not such a table, or of another catalogue.
    """
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
        tokens, counts = table["token"].to_pylist(), table["count"].to_pylist()
    except (pyarrow.ArrowException, KeyError):
        raise PretrainedError(f"{path} is no table with the columns token and count") from None
    if len(tokens) != num_items:
        raise PretrainedError(
            f"{path} has {len(tokens):,} items, but the weights are of a catalogue of {num_items:,}"
        )
    facts.item_vocabulary = Vocabulary(tokens)
    facts.item_counts = None if None in counts else torch.tensor([0, *counts])
    facts.item_titles = table["title"].to_pylist() if "title" in table.column_names else None


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("a pretrained model", "tables") from error
    return pyarrow, pyarrow.parquet
