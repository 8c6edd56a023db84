"""ItemTable: the token, training events and title of each item."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.arrow_tokens import token_array
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import NeededBy
from croloss_serving.recommend.token_table import import_pyarrow, read_columns


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
    def read(cls, path: Path, needed_by: NeededBy) -> ItemTable:
        """Read a table from a file.

        Args:
            path: the file.
            needed_by: what needs the table, for the message if pyarrow is not installed.

        Raises:
            PretrainedError: the file is not such a table.
            MissingExtraError: pyarrow is not installed.
        """
        columns = read_columns(path, ("token", "count", "title?"), needed_by)
        counts = columns["count"]
        return cls(
            Vocabulary(columns["token"]),
            None if None in counts else np.array(counts, dtype=np.int64),
            columns.get("title"),
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
