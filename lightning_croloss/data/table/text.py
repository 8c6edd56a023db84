"""Text files of tables: their header, some of their columns, and the line of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from lightning_croloss.data.table.content import Content, not_utf8, read_content
from lightning_croloss.data.table.finding import ATOMIC, SEPARATORS, extension
from lightning_croloss.data.table.header import COMMENT, find_header, separator_of
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.data.table.quotes import QuoteError, put_in_order, quotes_in
from lightning_croloss.data.table.records import Grammar, records_of
from lightning_croloss.errors import DataError

_BLOCK = 1 << 22
_LARGEST_BLOCK = 2**31 - 1


@dataclass
class LeftOut:
    """Numbers of records that are no rows.

    Attributes:
        blank: lines of nothing but spaces, or without a value in any column.
        comments: lines taken for comments although no option says so.
        ragged: rows of another number of fields than the header.
    """

    blank: int = 0
    comments: int = 0
    ragged: int = 0

    def __add__(self, other: LeftOut) -> LeftOut:
        return LeftOut(self.blank + other.blank, self.comments + other.comments, self.ragged + other.ragged)

    def __bool__(self) -> bool:
        return bool(self.blank or self.comments or self.ragged)


class TextFile:
    """A text file and its header: its first line that is neither blank nor a comment.

    Args:
        path: the file.
        options: how it is read.

    Attributes:
        separator: what stands between its fields.
        header: the fields of its header, as they are written.
        columns: its columns and their types: RecBole's in atomic files, else "text".

    Raises:
        DataError: the file is empty, damaged, not text, or in another encoding, or its header is unusable.
    """

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        self.path = path
        self.options = options
        content = self._content()
        usual = options.separator, SEPARATORS[extension(path)]
        start, line = find_header(path, content, options.comment, *usual)
        self._header_line = content[:start].count(b"\n") + 1
        self.separator = separator_of(self._decoded(line), *usual)
        grammar = self._grammar(options.quotes != "text")
        # with quotes it may run over lines
        found = grammar.record.match(content, start) or self._grammar(False).record.match(content, start)
        assert found is not None
        self._body = found.end()
        self.header = [self._decoded(name) for name in grammar.fields(found[0].rstrip(b"\r\n"))]
        self._body_line = self._header_line + content[start : self._body].count(b"\n")
        self.columns = self._columns()

    def read(self, names: Sequence[str]) -> tuple[pl.DataFrame, LeftOut]:
        """Read some columns.

        Returns:
            the columns, all String, "" where a field is empty; an empty line is a row of empty fields. And
            what was left out besides.

        Raises:
            DataError: naming the line and the column of what cannot be read.
        """
        content, position, grammar, over_lines = self._in_order()
        buffer = pa.py_buffer(content)[position:]
        if not buffer.size:
            return pl.DataFrame(schema=dict.fromkeys(names, pl.String)), LeftOut()
        block = _BLOCK
        while True:
            left_out = LeftOut()
            try:
                table = arrow_csv.read_csv(
                    pa.BufferReader(buffer),
                    arrow_csv.ReadOptions(column_names=list(self.columns), block_size=block),
                    self._parsing(grammar, over_lines, self._sorter(left_out) if _is_utf8(buffer) else None),
                    arrow_csv.ConvertOptions(
                        include_columns=list(names),
                        column_types=dict.fromkeys(names, pa.string()),
                        strings_can_be_null=False,
                    ),
                )
                break
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error) or block > buffer.size:
                    raise self._explained(error) from error
                block = min(buffer.size + 1, _LARGEST_BLOCK)  # a line is longer than a block
        self._exact, self._block = not over_lines and not left_out, block
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame, left_out

    def blank(self, frame: pl.DataFrame) -> pl.Series:
        """Return which rows (R,) of what :meth:`read` returned have no value in any column of the file."""
        blank = frame.select(pl.all_horizontal(pl.all() == "")).to_series()
        others = [name for name in self.columns if name not in frame.columns]
        if not others or not blank.any():
            return blank
        content, position, grammar, over_lines = self._in_order()
        buffer = pa.py_buffer(content)[position:]
        batches = arrow_csv.open_csv(
            pa.BufferReader(buffer),
            arrow_csv.ReadOptions(column_names=list(self.columns), block_size=self._block),
            self._parsing(grammar, over_lines, self._sorter(LeftOut()) if _is_utf8(buffer) else None),
            arrow_csv.ConvertOptions(
                include_columns=others,
                column_types=dict.fromkeys(others, pa.binary()),  # whatever their encoding
                strings_can_be_null=False,
            ),
        )
        longest = [
            np.max([pc.binary_length(column).to_numpy() for column in batch.columns], axis=0)
            for batch in batches
        ]
        return blank & pl.Series(np.concatenate(longest) == 0)

    def line(self, row: int) -> int:
        """Return the number of the line in which a row begins that :meth:`read` returned."""
        return self._body_line + row if self._exact else int(self._lines[row])

    def _in_order(self) -> tuple[Content, int, Grammar, bool]:
        """A content, where its first record begins, how to split it, and whether fields run over lines."""
        content, position = self._content(), self._body
        quotes = "none"
        if self.options.quotes != "text":
            quotes = quotes_in(content, self._grammar(True), position)
        grammar = self._grammar(quotes != "none")
        comment = (self.options.comment or "").encode()
        if quotes == "odd" or (comment and content.find(comment, position) >= 0):
            strict = self.options.quotes == "fields"
            try:
                content = put_in_order(content, grammar, position, len(self.columns), comment, strict)
            except QuoteError as error:
                line = self._body_line + content[position : error.start].count(b"\n")
                raise DataError(f"{self._where(line, error.field)} {error.problem}") from error
            position = 0
        return content, position, grammar, quotes == "odd"

    @cached_property
    def _lines(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The number of the line of each row."""
        expected = len(self.columns)
        lines = [line for line, record, count in self._records() if count == expected or not record]
        return np.array(lines, dtype=np.int64)

    def _records(self) -> Iterator[tuple[int, bytes, int]]:
        """Yield the line, the text and the number of fields of each record."""
        content, position, grammar, _ = self._in_order()
        line = self._body_line
        for start, record in records_of(content, grammar, position):
            line += content[position:start].count(b"\n")
            position = start
            yield line, record, grammar.count(record)

    def _parsing(
        self, grammar: Grammar, over_lines: bool, sort: Callable[[arrow_csv.InvalidRow], str] | None
    ) -> arrow_csv.ParseOptions:
        return arrow_csv.ParseOptions(
            delimiter=self.separator,
            quote_char='"' if grammar.quoted else False,
            newlines_in_values=over_lines,
            ignore_empty_lines=False,
            invalid_row_handler=sort,
        )

    def _sorter(self, left_out: LeftOut) -> Callable[[arrow_csv.InvalidRow], str]:
        def sort(row: arrow_csv.InvalidRow) -> str:
            kind = self._kind(row.text)
            if kind == "ragged" and self.options.ragged == "error":
                return "error"
            setattr(left_out, kind, getattr(left_out, kind) + 1)
            return "skip"

        return sort

    def _kind(self, record: str) -> str:
        """Tell what a record is that has another number of fields than the header."""
        if not record.strip():
            return "blank"
        return "comments" if self.options.comment is None and record.startswith(COMMENT) else "ragged"

    def _explained(self, error: pa.ArrowInvalid) -> DataError:
        """Return what to say of a file that Arrow cannot read."""
        columns = list(self.columns)
        if "UTF8" not in str(error) and self.options.ragged == "error":
            for line, record, count in self._records():
                if count == len(columns) or self._kind(record.decode(errors="replace")) != "ragged":
                    continue
                if count < len(columns):
                    others = TextFile(self.path, replace(self.options, ragged="drop")).read(columns[:1])[1]
                    return DataError(
                        f"{self._where(line, count)} has no value ({others.ragged} such rows): the line has "
                        f"{count} fields and the header {len(columns)}; correct it, or set ragged to drop to "
                        "leave such rows out"
                    )
                return DataError(
                    f"{self.path.name} cannot be read: found more fields than defined in the header: line "
                    f"{line} has {count}, which go on after column {columns[-1]!r}, the last of "
                    f"{len(columns)}; correct it, or set ragged to drop to leave such rows out"
                )
        content, position, _, _ = self._in_order()
        said = not_utf8(self.path, content[position:], self._body_line, self.separator, columns)
        return said or DataError(f"{self.path.name} cannot be read: {error}")

    def _where(self, line: int, number: int) -> str:
        columns = list(self.columns)
        return f"{self.path.name}, line {line}: column {columns[min(number, len(columns) - 1)]!r}"

    def _content(self) -> Content:
        return read_content(self.path, self.options.encoding)

    def _grammar(self, quoted: bool) -> Grammar:
        return Grammar(self.separator.encode(), quoted)

    def _decoded(self, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            readable = text.decode(errors="replace")
            separator = separator_of(readable, self.options.separator, SEPARATORS[extension(self.path)])
            said = not_utf8(self.path, text, self._header_line, separator, readable.split(separator))
            raise said or DataError(f"{self.path.name} cannot be read") from error

    def _columns(self) -> dict[str, str]:
        columns: dict[str, str] = {}
        for number, field in enumerate(self.header, start=1):
            name, kind = field or f"unnamed column {number}", "text"
            if extension(self.path) in ATOMIC:
                name, mark, kind = field.rpartition(":")
                if not mark:
                    raise DataError(
                        f"the header of {self.path.name} has {field!r}: write name and type, such as "
                        "user_id:token"
                    )
            if name in columns:
                raise DataError(f"{self.path.name} has two columns {name!r} in its header: rename one")
            columns[name] = kind
        return columns


def _is_utf8(buffer: pa.Buffer) -> bool:
    ends = pa.py_buffer(np.array([0, buffer.size], dtype=np.int64))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, buffer]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True
