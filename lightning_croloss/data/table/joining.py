"""Columns of several files one below the other: no value becomes another one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from lightning_croloss.data.table.dates import shown
from lightning_croloss.data.table.sources import TableFile, first_line
from lightning_croloss.errors import DataError

#: The units of date-times, the finest first.
_UNITS = ("ns", "us", "ms")
#: Integers that neither NumPy nor a token or time of 64 bits can hold.
WIDE = (pl.Int128, pl.UInt128)
#: From here on float64 no longer tells an integer from the next one.
_INEXACT = 2.0**53


def family_of(kind: pl.DataType) -> str:
    """Return what a type holds, as errors call it: columns of one family can be brought together."""
    if kind == pl.String:
        return "text"
    if kind.is_numeric():
        return "numbers"
    return "dates" if kind == pl.Date or isinstance(kind, pl.Datetime) else str(kind)


def common_type(kinds: Sequence[pl.DataType]) -> pl.DataType:
    """Return the type that holds what columns of one family hold: of date-times it has the finest unit.

    Args:
        kinds: their types.

    Raises:
        PolarsError: there is none, as for times with and without a zone.
    """
    empty = [pl.DataFrame(schema={"x": kind}) for kind in kinds]
    found = pl.concat(empty, how="vertical_relaxed").schema["x"]
    units = [kind.time_unit for kind in kinds if isinstance(kind, pl.Datetime)]
    if isinstance(found, pl.Datetime) and units:
        return pl.Datetime(min(units, key=_UNITS.index), found.time_zone)
    return found


def with_type(series: pl.Series, kind: pl.DataType) -> tuple[pl.Series, pl.Series]:
    """Return a column with another type, and which of its values (R,) that type cannot hold.

    Args:
        series: the column.
        kind: what :func:`common_type` returned of its type and others.
    """
    if series.dtype == kind:
        return series, pl.repeat(False, len(series), eager=True, dtype=pl.Boolean)
    cast = series.cast(kind, strict=False)
    lost = cast.is_null() & series.is_not_null()
    if kind.is_float() and series.dtype.is_integer():
        lost |= (series.cast(pl.Float64).abs() >= _INEXACT).fill_null(False)
    elif kind.is_float() and series.dtype.is_decimal():
        lost |= (cast.cast(series.dtype, strict=False) != series).fill_null(True) & series.is_not_null()
    return cast, lost


def join(files: Sequence[TableFile], frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return frames with the same columns one below the other.

    Args:
        files: the file of each frame, for errors.
        frames: the frames.

    Raises:
        DataError: a column holds other things in another file.
    """
    columns = {name: _joined(name, files, [frame[name] for frame in frames]) for name in frames[0].columns}
    return pl.DataFrame(columns)


def _joined(name: str, files: Sequence[TableFile], columns: Sequence[pl.Series]) -> pl.Series:
    typed = [(file, each) for file, each in zip(files, columns, strict=True) if each.dtype != pl.Null]
    for file, column in typed:
        first, family = family_of(typed[0][1].dtype), family_of(column.dtype)
        if family != first:
            raise DataError(
                f"column {name!r} holds {first} in {typed[0][0].path.name}, but {family} in "
                f"{file.path.name}: give it one type"
            )
    kinds = list(dict.fromkeys(column.dtype for _, column in typed))
    if len(kinds) > 1:
        try:
            kind = without_excess([column for _, column in typed], common_type(kinds))
        except pl.exceptions.PolarsError as error:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            raise DataError(
                f"the files of {files[0].path.name}{more} do not fit together: {first_line(error)}"
            ) from error
    else:
        kind = kinds[0] if kinds else pl.Null()
    return pl.concat([_exact(name, *each, kind) for each in zip(files, columns, strict=True)])


def without_excess(columns: Iterable[pl.Series], kind: pl.DataType) -> pl.DataType:
    """Return a type of 64 bits for signed and unsigned integers of which each fits into one of them.

    Args:
        columns: the integers.
        kind: their common type; it is returned if it is not that of wide integers, or if they need it.
    """
    if kind not in WIDE:
        return kind
    low = high = 0
    for column in columns:
        if column.dtype in WIDE:
            return kind
        if len(column) > column.null_count():
            low, high = min(low, int(column.min())), max(high, int(column.max()))  # type: ignore[arg-type]
    if high < 2**63:
        return pl.Int64()
    return pl.UInt64() if low >= 0 else kind


def _exact(name: str, file: TableFile, column: pl.Series, kind: pl.DataType) -> pl.Series:
    cast, lost = with_type(column, kind)
    if not lost.any():
        return cast
    if family_of(kind) == "dates":
        row = int(lost.arg_max() or 0)
        raise DataError(
            f"{file.path.name}, row {row + 1}: column {name!r} holds {shown(column, row)}, which {kind} of "
            "another file cannot hold: give it one type"
        )
    what = "integers beyond 2^53" if column.dtype.is_integer() else f"{column.dtype} of many digits"
    raise DataError(
        f"column {name!r} holds {what} in {file.path.name}, but another type of numbers elsewhere: give it "
        "one type"
    )


__all__ = ["WIDE", "common_type", "family_of", "join", "with_type", "without_excess"]
