"""Files of recommendations, written table after table: Parquet, CSV, TSV or JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

PARQUET, LINES = (".parquet", ".pq"), ".jsonl"
SEPARATORS = {".csv": ",", ".tsv": "\t"}
EXTENSIONS = (*PARQUET, *SEPARATORS, LINES)
#: What a line of JSON calls the lists of a user.
_LISTS = {"item": "items", "score": "scores", "title": "titles"}


def is_writable(path: Path) -> bool:
    """Tell whether :class:`RowFile` knows the extension of a file."""
    return path.suffix.lower() in EXTENSIONS


class RowFile:
    """Writes a row for each user and item, as its extension says; JSON lines have one for each user.

    Args:
        path: the file.
        schema: the columns ``user``, ``rank``, ``item``, ``score`` and perhaps ``title``. All rows of a user
            come in one table, the first with the rank 1.

    Attributes:
        schema: the columns.
    """

    def __init__(self, path: Path, schema: pyarrow.Schema) -> None:
        self.schema = schema
        self._extension = path.suffix.lower()
        self._file: Any
        if self._extension in PARQUET:
            import pyarrow.parquet as parquet

            self._file = parquet.ParquetWriter(path, schema, compression="zstd")
        else:
            self._file = path.open("wb")
            if self._extension in SEPARATORS:
                self._write_text(schema.empty_table(), header=True)

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write_table(self, table: pyarrow.Table) -> None:
        """Append rows."""
        if self._extension in PARQUET:
            self._file.write_table(table)
        elif self._extension in SEPARATORS:
            self._write_text(table, header=False)
        else:
            self._write_lines(table)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _write_text(self, table: pyarrow.Table, header: bool) -> None:
        import polars as pl

        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        frame.write_csv(self._file, include_header=header, separator=SEPARATORS[self._extension])

    def _write_lines(self, table: pyarrow.Table) -> None:
        columns = table.to_pydict()
        ranks = columns.pop("rank")
        begins = [row for row, rank in enumerate(ranks) if rank == 1]
        for begin, end in zip(begins, [*begins[1:], len(ranks)][: len(begins)], strict=True):
            line = {_LISTS[name]: values[begin:end] for name, values in columns.items() if name != "user"}
            text = json.dumps({"user": columns["user"][begin], **line}, ensure_ascii=False)
            self._file.write(f"{text}\n".encode())
