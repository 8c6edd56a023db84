"""Columns of a table as numbers: ids, times, values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.table.date_formats import looks_like
from lightning_croloss.data.table.dates import beyond_calendar, shown
from lightning_croloss.data.table.joining import WIDE
from lightning_croloss.data.table.reading import Table
from lightning_croloss.errors import DataError

_DAY = 86_400
_NANO = 1_000_000_000
#: Days around 1970 that int64 nanoseconds can hold.
_MAX_DAYS = 106_751
_ISO = (
    r"^(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>\d{2})(?:[.,](?<part>\d{1,9}))?)?"
    r" ?(?:(?<utc>[Zz])|(?<sign>[+-])(?<zone_hour>\d{2}):?(?<zone_minute>\d{2})?)?)?$"
)
#: Floats that are coarser than float64, and from where on they no longer tell an integer from the next one.
_COARSE = {pl.Float32: 2.0**24, pl.Float16: 2.0**11}
_NUMBER_EXAMPLE = "a number such as seconds since 1970"
_ISO_EXAMPLE = "an ISO date or date-time such as 2024-05-31T18:30:00"


def factorize(table: Table, column: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the position (R,) of each row's token among the sorted distinct tokens, and these.

    Tokens are int64 (uint64 where they need it), or Python's text, which takes the memory of its letters.
    Numbers in a text file are integers if all of the column is written as integers are, without
    leading zeros. A missing token has position -1.

    Raises:
        DataError: the column is neither integers nor text.
    """
    series = token_series(table, column)
    distinct = series.drop_nulls().unique()
    if series.dtype == pl.String:
        numbers = written_integers(distinct) if table.files[0].is_text else None
        if numbers is not None:
            series, distinct = series.cast(pl.Int64), numbers
        else:
            refuse_nul(table, column, distinct)
    distinct = distinct.sort()
    if not len(distinct):
        return np.full(len(series), -1), np.array([], dtype=object)
    positions = pl.int_range(len(distinct), eager=True, dtype=pl.Int64)
    codes = series.replace_strict(distinct, positions, default=-1, return_dtype=pl.Int64)
    return codes.fill_null(-1).to_numpy(), distinct.to_numpy()


def token_series(table: Table, column: str) -> pl.Series:
    """Return a column of tokens as text, which may stand for integers, or as integers of 64 bits.

    Raises:
        DataError: the column is neither integers nor text.
    """
    refuse_kinds(table, column, holds_tokens, "users and items must be integers or text")
    series = table.frame[column]
    if series.dtype.is_float():
        return whole_numbers(table, column)
    if series.dtype == pl.String:
        return series
    large = series.dtype == pl.UInt64 and (series.max() or 0) > np.iinfo(np.int64).max  # type: ignore[operator]
    return series if large else series.cast(pl.Int64)


def refuse_kinds(table: Table, column: str, takes: Callable[[pl.DataType], bool], wanted: str) -> None:
    """Refuse a column that has another type than is wanted, in one of the files.

    Args:
        table: the table.
        column: the column.
        takes: tells whether a type is wanted.
        wanted: what errors say.

    Raises:
        DataError: naming the file and the type.
    """
    kinds = table.kinds_of(column)
    for file, kind in [*kinds, (table.files[0], table.frame[column].dtype)]:
        if not takes(kind):
            raise DataError(f"{file.path.name}: column {column!r} holds {kind}: {wanted}")


def holds_tokens(kind: pl.DataType) -> bool:
    """Tell whether a column of a type can hold users or items."""
    if kind in WIDE:
        return False
    return kind == pl.String or kind.is_integer() or kind.is_float()


def written_integers(distinct: pl.Series) -> pl.Series | None:
    """Return texts as integers, if each is written as an integer is, without leading zeros; else None."""
    numbers = distinct.cast(pl.Int64, strict=False)
    if numbers.null_count() or not (numbers.cast(pl.String) == distinct).all():
        return None
    return numbers


def to_text(table: Table, series: pl.Series, what: str, kind: pl.DataType | None = None) -> pl.Series:
    """Return a column as text.

    Args:
        table: the table.
        series: the column.
        what: what its values are to be, as errors call it.
        kind: another type than text, such as lists of it.

    Raises:
        DataError: it holds what has no text, such as durations, or bytes that are none.
    """
    held = series.explode() if isinstance(series.dtype, (pl.List, pl.Array)) else series
    far = beyond_calendar(held)
    if far.any():
        value = shown(held, int(far.arg_max() or 0))
        raise DataError(f"{table.name}: column {series.name!r} holds {value}, which no calendar has")
    try:
        return series.cast(kind or pl.String())
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{table.name}: column {series.name!r} holds {series.dtype}, which is not {what}"
        ) from error


def refuse_nul(table: Table, column: str, distinct: pl.Series) -> None:
    """Refuse texts with a NUL character.

    Args:
        table: the table.
        column: the column.
        distinct: its distinct texts.

    Raises:
        DataError: naming the first row with one.
    """
    if distinct.str.contains("\0", literal=True).any():
        row = table.frame[column].str.contains("\0", literal=True).fill_null(False).arg_max() or 0
        raise DataError(f"{table.location(row)}: column {column!r} holds a NUL character: clean the file")


def whole_numbers(table: Table, column: str) -> pl.Series:
    """Return a column of floats as integers, which pandas stores so where some are missing.

    Raises:
        DataError: something is not a whole number, or too large for a float to tell it from the next.
    """
    series = table.frame[column]
    limits = np.full(len(series), 2.0**53)
    for kind, limit in _COARSE.items():
        limits[table.rows_of_kind(column, kind)] = limit
    exact = (series == series.round()) & (series.abs().cast(pl.Float64) < pl.Series(limits))
    if not exact.all():
        row = int((~exact).fill_null(False).arg_max() or 0)
        raise DataError(
            f"{table.location(row)}: column {column!r} holds {series[row]}: users and items must be "
            "integers or text"
        )
    return series.cast(pl.Int64)


def to_numbers(table: Table, column: str) -> NDArray[np.float64]:
    """Return a column without missing values as float64 (R,).

    Raises:
        DataError: something is not a finite number.
    """
    series = table.frame[column]
    if not (series.dtype.is_numeric() or series.dtype == pl.String):
        raise DataError(f"{table.name}: column {column!r} holds {series.dtype}, not numbers")
    values = parse_numbers(series, table.decimal)
    wrong = ~values.is_finite().fill_null(False)
    _refuse(table, column, wrong, f"which is not a finite number{_decimal_hint(series, wrong, table)}")
    return values.to_numpy()


def parse_numbers(series: pl.Series, decimal: str) -> pl.Series:
    """Return numbers or texts as Float64, null where a text is no number.

    Args:
        series: the column.
        decimal: what stands before the decimals in a text.
    """
    if decimal == "," and series.dtype == pl.String:
        # a point may stand before three digits then: nothing that has one is taken for a number
        points = series.str.contains(".", literal=True)
        series = series.str.replace(",", ".", literal=True).set(points.fill_null(False), None)
    return series.cast(pl.Float64, strict=False)


def looks_like_decimal_commas(series: pl.Series) -> bool:
    """Tell whether texts are numbers, and some of them have a comma before their decimals."""
    if series.dtype != pl.String:
        return False
    present = series.drop_nulls()
    return (
        bool(present.str.contains(",", literal=True).any())
        and parse_numbers(present, ",").null_count() == present.str.contains(".", literal=True).sum() == 0
    )


def _decimal_hint(series: pl.Series, wrong: pl.Series, table: Table) -> str:
    if table.decimal == "." and wrong.any() and looks_like_decimal_commas(series.filter(wrong)):
        return "; is it written with a decimal comma? Then set decimal to ','"
    return ""


def to_times(table: Table, column: str) -> tuple[NDArray[Any], bool]:
    """Return the times (R,) of a column without missing values, and whether they are dates.

    Numbers stay what they are, int64 or float64; decimals become the one that holds them. Dates and
    date-times become int64 nanoseconds since 1970 in UTC, where those without a zone are taken to be.

    Raises:
        DataError: a time cannot be read, or the column cannot order events exactly.
    """
    for file, each in table.kinds_of(column):
        if not _holds_times(each):
            coarse = each in _COARSE
            advice = "which is too coarse to order events: store it" if coarse else "not times: give them"
            raise DataError(
                f"{file.path.name}: column {column!r} holds {each}, {advice} as integers, Float64, dates or "
                "ISO text"
            )
    series = table.frame[column]
    kind = series.dtype
    if kind == pl.String:
        return _parsed(table, column, series)
    if kind.is_integer() or _is_whole(kind):
        whole = series.cast(pl.Int64, strict=False)
        _refuse(table, column, whole.is_null(), "which is too large for a time")
        return whole.to_numpy(), False
    if kind.is_decimal():
        return _decimals(table, column), False
    if kind == pl.Float64:
        return to_numbers(table, column), False
    if kind == pl.Date:
        return _nanoseconds(table, column, series.to_physical().cast(pl.Int64), _DAY * _NANO), True
    assert isinstance(kind, pl.Datetime)
    scale = {"ns": 1, "us": 1_000, "ms": 1_000_000}[kind.time_unit]
    return _nanoseconds(table, column, series.to_physical(), scale), True


def _holds_times(kind: pl.DataType) -> bool:
    if kind in WIDE:
        return False
    if kind.is_integer() or kind.is_decimal() or kind in (pl.String, pl.Float64, pl.Date):
        return True
    return isinstance(kind, pl.Datetime)


def _is_whole(kind: pl.DataType) -> bool:
    """Tell a type of decimals without digits behind the point, which databases have for integers."""
    return isinstance(kind, pl.Decimal) and kind.scale == 0


def _decimals(table: Table, column: str) -> NDArray[np.float64]:
    """Return decimals with digits behind the point as the float64 that are written like them."""
    series = table.frame[column]
    values = series.cast(pl.Float64)
    same = (values.cast(series.dtype, strict=False) == series).fill_null(False)
    _refuse(table, column, ~same, "which has more digits than a time can have: store it as integers")
    return values.to_numpy()


def has_zone(text: str) -> bool:
    """Tell whether a date-time in ISO form says its zone."""
    return bool(_iso(pl.Series([text]))[1][0])


def parse_bound(argument: str, bound: str | float, dates: bool) -> float:
    """Return one end of a time window in the unit of the times.

    Raises:
        DataError: the bound is a date and the times are numbers, or the other way round.
    """
    if isinstance(bound, str) and dates:
        nanoseconds = _iso(pl.Series([bound]))[0]
        if nanoseconds[0] is None:
            if _iso(pl.Series([re.sub(r"^\d{4}", "2000", bound)]))[0][0] is not None:
                raise DataError(f"{argument}={bound!r} is before 1678 or after 2261")
            raise DataError(f"{argument}={bound!r} is not {_ISO_EXAMPLE}")
        return int(nanoseconds[0])
    if isinstance(bound, str) or dates:
        wanted = _ISO_EXAMPLE if dates else "a number, as the times are"
        raise DataError(f"{argument}={bound!r} must be {wanted}")
    return bound


def _parsed(table: Table, column: str, series: pl.Series) -> tuple[NDArray[Any], bool]:
    """Read times written as text: all are integers, or all numbers, or all ISO dates."""
    first = series.head(1)
    if parse_numbers(first, table.decimal).null_count():
        nanoseconds, zoned = _iso(series)
        wrong = nanoseconds.is_null()
        if wrong.any():
            look = looks_like(series.filter(wrong)[0], series)
            if wrong[0]:
                _refuse(table, column, wrong, f"which is not {_ISO_EXAMPLE}, nor {_NUMBER_EXAMPLE}{look}")
            _refuse(table, column, wrong, f"which is not {_ISO_EXAMPLE}, as the first is{look}")
        _refuse(
            table,
            column,
            zoned != zoned[0],
            f"which has {'no' if zoned[0] else 'a'} time zone, unlike the first",
        )
        return nanoseconds.to_numpy(), True
    whole = series.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return whole.to_numpy(), False
    values = parse_numbers(series, table.decimal)
    _refuse(table, column, ~values.is_finite().fill_null(False), "which is not a number, as the first is")
    # as floats they would lose their order
    inexact = (values.abs() >= 2**53) & series.str.contains(r"^[+-]?\d+$")
    _refuse(table, column, inexact, "an integer that is too large for a time")
    return values.to_numpy(), False


def _iso(series: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return int64 nanoseconds since 1970 (null where unreadable), and whether a zone is written."""
    parts = series.str.extract_groups(_ISO).struct.unnest()
    number = {
        name: parts[name].cast(pl.Int64).fill_null(0)
        for name in ("hour", "minute", "second", "zone_hour", "zone_minute")
    }
    days = parts["date"].str.to_date("%Y-%m-%d", strict=False).to_physical().cast(pl.Int64)
    sign = parts["sign"].replace_strict({"+": 1, "-": -1}, default=0, return_dtype=pl.Int64).fill_null(0)
    minutes = number["hour"] * 60 + number["minute"]
    minutes -= sign * (number["zone_hour"] * 60 + number["zone_minute"])
    fraction = parts["part"].str.pad_end(9, "0").cast(pl.Int64).fill_null(0)
    valid = (
        (number["hour"] < 24)
        & (number["minute"] < 60)
        & (number["second"] < 60)
        & (number["zone_hour"] < 24)
        & (number["zone_minute"] < 60)
        & (days.abs() < _MAX_DAYS)
    ).fill_null(False)
    total = (
        days.fill_null(0).clip(-_MAX_DAYS, _MAX_DAYS) * _DAY + minutes * 60 + number["second"]
    ) * _NANO + fraction
    zoned = parts["utc"].is_not_null() | parts["sign"].is_not_null()
    return total.zip_with(valid, pl.Series([None], dtype=pl.Int64).new_from_index(0, len(total))), zoned


def _nanoseconds(table: Table, column: str, ticks: pl.Series, scale: int) -> NDArray[np.int64]:
    limit = _MAX_DAYS * _DAY * _NANO // scale
    _refuse(table, column, ticks.abs() > limit, "which is before 1678 or after 2261")
    return (ticks * scale).to_numpy()


def _refuse(table: Table, column: str, wrong: pl.Series, why: str) -> None:
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        held = shown(table.frame[column], row)
        raise DataError(f"{table.location(row)}: column {column!r} holds {held}, {why}")
