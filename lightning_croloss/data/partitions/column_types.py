"""One type for each column of all partitions, whichever files its values come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from lightning_croloss.data.table.conversion import parse_numbers, written_integers
from lightning_croloss.data.table.joining import common_type, family_of, with_type
from lightning_croloss.data.table.sources import as_written
from lightning_croloss.errors import DataError

#: What a column of text may stand for, from the narrowest on.
_INTEGERS, _NUMBERS, _TEXT = range(3)


class WrittenTypes:
    """Which columns of text files hold numbers, as far as their values have been seen.

    A column is one of integers if all are written as integers are; else, but for users and items, of numbers
    if all can be read as such. Where numbers do not say how they were written, as those of "1.10" and "05" do
    not, the texts come beside them in a column of their own: whoever takes them for categories needs these.

    Args:
        columns: the columns of the table and the types that the header gives them, "text" for none.
        tokens: those of users and items.
        decimal: what stands before the decimals of numbers.
    """

    def __init__(self, columns: Mapping[str, str], tokens: Sequence[str], decimal: str) -> None:
        self._decimal = decimal
        self._tokens = {*tokens}
        self._kinds = {
            name: _INTEGERS if declared in ("text", "float") or name in tokens else _TEXT
            for name, declared in columns.items()
        }
        self._integers: set[str] = set()  # columns of which integers were seen
        self._respelt: set[str] = set()  # those whose numbers do not say how they were written

    def look(self, frame: pl.DataFrame) -> None:
        """Look at more values.

        Raises:
            DataError: the texts that come beside numbers would have the name of another column.
        """
        for name, kind in self._kinds.items():
            if kind == _TEXT or name not in frame.columns or frame[name].dtype != pl.String:
                continue
            distinct = frame[name].drop_nulls().unique()
            if kind == _INTEGERS and written_integers(distinct) is None:
                kind = _TEXT if name in self._tokens else _NUMBERS
                self._respelt |= {name} & self._integers
            if kind == _INTEGERS and len(distinct):
                self._integers.add(name)
            if kind == _NUMBERS:
                # what is infinite is no text, but is refused as a number
                read = parse_numbers(distinct, self._decimal)
                if not read.is_not_nan().fill_null(False).all():
                    kind = _TEXT
                elif not (read.cast(pl.String) == distinct).all():
                    self._respelt.add(name)
            self._kinds[name] = kind
            if kind == _NUMBERS and name in self._respelt and (beside := as_written(name)) in self._kinds:
                raise DataError(
                    f"column {beside!r} has the name under which partitions keep how the numbers of {name!r} "
                    "are written: rename it, or leave one of them out by --columns"
                )

    def converted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame in which the texts that stand for numbers are numbers, with texts beside some."""
        made = []
        for name, kind in self._kinds.items():
            if name in frame.columns and frame[name].dtype == pl.String and kind != _TEXT:
                series = frame[name]
                made.append(
                    series.cast(pl.Int64)
                    if kind == _INTEGERS
                    else parse_numbers(series, self._decimal).alias(name)
                )
                if kind == _NUMBERS and name in self._respelt:
                    made.append(series.alias(as_written(name)))
        return frame.with_columns(made)


def common_types(
    schemas: Iterable[Sequence[tuple[str, pl.DataType]]], tokens: Sequence[str]
) -> dict[str, pl.DataType]:
    """Return a type for each column that holds the values of all.

    Args:
        schemas: names and types of the columns of each part.
        tokens: the columns of users and items.

    Raises:
        DataError: a column holds values of different kinds.
    """
    seen: dict[str, list[pl.DataType]] = {}
    for schema in schemas:
        for name, kind in schema:
            if kind not in seen.setdefault(name, []):
                seen[name].append(kind)
    found: dict[str, pl.DataType] = {}
    for name, kinds in seen.items():
        typed = [kind for kind in kinds if kind != pl.Null] or [pl.String()]
        families = {family_of(kind) for kind in typed}
        if len(families) > 1:
            raise DataError(
                f"column {name!r} holds {' in some files or rows, and '.join(sorted(families))} in others: "
                "give it one type"
            )
        if name in tokens and pl.UInt64 in typed:
            found[name] = pl.UInt64()
            continue
        try:
            found[name] = common_type(typed)
        except pl.exceptions.PolarsError:  # times with and without a zone, for instance
            held = " in some files or rows, and ".join(map(str, typed))
            raise DataError(f"column {name!r} holds {held} in others: give it one type") from None
    return found


def cast_exactly(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return a frame with the types of :func:`common_types`.

    Raises:
        DataError: a value would become another one.
    """
    made = []
    for name, kind in types.items():
        series = frame[name]
        if series.dtype == kind:
            continue
        cast, lost = with_type(series, kind)
        if lost.any():
            raise DataError(
                f"column {name!r} holds {series.dtype} in some files and {kind} in others, which cannot "
                "hold all of them: give it one type"
            )
        made.append(cast)
    return frame.with_columns(made).select(list(types))
