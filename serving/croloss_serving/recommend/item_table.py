"""ItemTable: the token, training events and title of each item."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.arrow_tokens import token_array
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import NeededBy, PretrainedError
from croloss_serving.recommend.token_table import import_pyarrow, read_columns, vocabulary_of


@dataclass(frozen=True)
class ItemTable:
    """The items of a catalogue, in the order of their ids 1 … N.

    It is kept in a Parquet file with the columns ``token``, ``count`` and, with titles, ``title``: the
    ``vocabulary.parquet`` of a pretrained model and the ``items.parquet`` of an export.

    Attributes:
        vocabulary: their N tokens.
        counts: (N,) training events of each; None if they are not known.
        titles: what a person calls each; None without titles.
    """

    vocabulary: Vocabulary
    counts: NDArray[np.int64] | None = None
    titles: list[str] | None = None

    def __len__(self) -> int:
        """Return the number N of items."""
        return len(self.vocabulary)

    @classmethod
    def read(
        cls, path: Path, needed_by: NeededBy, rows: int | None = None, content: bytes | None = None
    ) -> ItemTable:
        """Read a table from a file.

        Args:
            path: the file.
            needed_by: what needs the table, for the message if pyarrow is not installed.
            rows: how many items it must have; None = any number.
            content: its bytes, if they were read already.

        Raises:
            PretrainedError: the file is not such a table, or has another number of items.
            MissingExtraError: pyarrow is not installed.
        """
        columns = read_columns(path, ("token", "count", "title?"), needed_by, rows, content)
        counts, titles = columns["count"], columns.get("title")
        known = None not in counts
        if known and not all(type(count) is int and 0 <= count < 2**63 for count in counts):
            raise PretrainedError(f"{path} is damaged: its column count holds something else than counts")
        if titles is not None and not all(isinstance(title, str) for title in titles):
            raise PretrainedError(f"{path} is damaged: its column title holds something else than text")
        return cls(
            vocabulary_of(columns["token"], path),
            np.array(counts, dtype=np.int64) if known else None,
            titles,
        )

    def write(self, path: Path, needed_by: NeededBy) -> None:
        """Write the table to a file.

        Args:
            path: the file.
            needed_by: what needs the table, for the message if pyarrow is not installed.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        pyarrow, parquet = import_pyarrow(needed_by)
        counts = [None] * len(self) if self.counts is None else self.counts.tolist()
        columns = {
            "token": token_array(self.vocabulary.tokens),
            "count": pyarrow.array(counts, pyarrow.int64()),
        }
        if self.titles is not None:
            columns["title"] = pyarrow.array(self.titles, pyarrow.string())
        parquet.write_table(pyarrow.table(columns), path, compression="zstd")
