"""Dates of polars that the calendar of Python, or any calendar, does not have."""

from __future__ import annotations

import polars as pl

#: Days since 1970 of the first day of the year 1 and of the last one of 9999, between which Python's are.
_FIRST, _LAST = -719_162, 2_932_896
#: Ticks of a day.
_DAY = {"ns": 86_400 * 10**9, "us": 86_400 * 10**6, "ms": 86_400 * 10**3}
_SPELT = {"ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds"}


def beyond_calendar(series: pl.Series) -> pl.Series:
    """Return which dates and date-times (R,) are before the year 1, or after 9999.

    Polars ends the program, or raises what is no ``Exception``, where such a one is to become text.
    """
    if not (series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime)):
        return pl.repeat(False, len(series), eager=True, dtype=pl.Boolean)
    days = series.to_physical().cast(pl.Int64)
    if isinstance(series.dtype, pl.Datetime):
        days = days // _DAY[series.dtype.time_unit]
    return ((days < _FIRST) | (days > _LAST)).fill_null(False)


def shown(series: pl.Series, row: int) -> str:
    """Return a value of a column as an error message shows it."""
    if beyond_calendar(series[row : row + 1])[0]:
        ticks = series.to_physical()[row]
        unit = _SPELT[series.dtype.time_unit] if isinstance(series.dtype, pl.Datetime) else "days"
        return f"{ticks} {unit} since 1970"
    kind = series.dtype
    if isinstance(kind, pl.Datetime) and kind.time_zone:  # where it may be of another year than in UTC
        return f"{series[row : row + 1].cast(pl.Datetime(kind.time_unit))[0]} UTC"
    value = series[row]
    return repr(value) if isinstance(value, str) else str(value)


__all__ = ["beyond_calendar", "shown"]
