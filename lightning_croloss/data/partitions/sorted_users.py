"""The sorted users of all partitions, merged in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet

from lightning_croloss.data.partitions.columns import PARTITION, USER

#: Users that are sorted together, about.
TOGETHER = 1_000_000
#: Tokens that each partition offers as ends of the pieces that are sorted together.
_OFFERED = 64


def write_sorted(files: Sequence[Path], target: Path, together: int = TOGETHER) -> int:
    """Write the users of all partitions, sorted, with the partition of each; return their number.

    Args:
        files: for each partition an Arrow file of its users, sorted.
        target: the Parquet file.
        together: about how many users are in memory at a time.
    """
    parts = [_opened(file) for file in files]
    count = sum(map(len, parts))
    pieces = max(1, -(-count // together))
    kind = next((part.dtype for part in parts if len(part)), pl.Int64())
    ends = _ends(parts, pieces)
    schema = pl.DataFrame(schema={USER: kind, PARTITION: pl.Int32}).to_arrow().schema
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for piece in _pieces(parts, ends):
            writer.write_table(piece.sort(USER).to_arrow().cast(schema))
    return count


def _opened(file: Path) -> pl.Series:
    frame = pl.from_arrow(pa.ipc.open_file(pa.memory_map(str(file))).read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame[USER]


def _ends(parts: Sequence[pl.Series], pieces: int) -> pl.Series:
    """Return tokens between which about as many users lie, one fewer than pieces at most."""
    offered = pl.concat(
        [part.gather_every(max(1, len(part) // _OFFERED)) for part in parts if len(part)]
    ).sort()
    places = [len(offered) * piece // pieces for piece in range(1, pieces)]
    return offered.gather(places).unique().sort()


def _pieces(parts: Sequence[pl.Series], ends: pl.Series) -> Iterator[pl.DataFrame]:
    places = [
        [0, *(part.search_sorted(ends, side="left").to_list() if len(ends) else []), len(part)]
        for part in parts
    ]
    for piece in range(len(ends) + 1):
        found = [
            pl.DataFrame({USER: part[begins[piece] : begins[piece + 1]]}).with_columns(
                pl.lit(number, pl.Int32).alias(PARTITION)
            )
            for number, (part, begins) in enumerate(zip(parts, places, strict=True))
            if begins[piece] < begins[piece + 1]
        ]
        if found:
            yield pl.concat(found)
