"""Runs: rows on the disk, sorted by their partition, so that each partition is read from slices of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

#: Rows of a run: a number that is in memory several times.
ROWS = 1_000_000


def frame_of(table: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """Return a frame of columns of arrow, under their names: polars would give "" another."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.columns = table.schema.names
    return frame


class Runs:
    """Collects rows with the number of their partition.

    Args:
        folder: where the runs lie.
        partitions: number of partitions.
        rows: rows of a run.
    """

    def __init__(self, folder: Path, partitions: int, rows: int = ROWS) -> None:
        self.schemas: dict[tuple[tuple[str, pl.DataType], ...], None] = {}
        self._folder = folder
        self._partitions = partitions
        self._rows = rows
        self._offsets: list[NDArray[np.int64]] = []
        self._waiting: list[tuple[pl.DataFrame, NDArray[np.int64]]] = []
        self._count = 0

    def add(self, frame: pl.DataFrame, numbers: NDArray[np.int64]) -> None:
        """Take rows, and the partition (R,) of each."""
        schema = tuple(frame.schema.items())
        if self._waiting and schema != tuple(self._waiting[0][0].schema.items()):
            self.flush()  # a run has one schema
        self.schemas[schema] = None
        self._waiting.append((frame, numbers))
        self._count += frame.height
        if self._count >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting as one run."""
        if not self._count:
            return
        frame = pl.concat([frame for frame, _ in self._waiting])
        numbers = np.concatenate([numbers for _, numbers in self._waiting])
        self._waiting, self._count = [], 0
        table = frame[np.argsort(numbers, kind="stable")].to_arrow(compat_level=pl.CompatLevel.oldest())
        counts = np.bincount(numbers, minlength=self._partitions)
        path = str(self._path(len(self._offsets)))
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        self._offsets.append(np.concatenate([[0], np.cumsum(counts)]))

    def partition(self, number: int) -> Iterator[pl.DataFrame]:
        """Yield the rows of a partition, from one run after the other, in the order in which they came."""
        for run, offsets in enumerate(self._offsets):
            begin, stop = offsets[number : number + 2].tolist()
            if begin == stop:
                continue
            # the slice keeps the file mapped as long as it is in use
            part = pa.ipc.open_file(pa.memory_map(str(self._path(run)))).read_all()
            yield frame_of(part.slice(begin, stop - begin))

    def _path(self, run: int) -> Path:
        return self._folder / f"run-{run:06}.arrow"
