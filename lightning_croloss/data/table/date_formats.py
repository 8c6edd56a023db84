"""What dates look like that are not ISO dates: they are refused, as 03/04/2024 has two meanings."""

from __future__ import annotations

import re

import polars as pl

_NUMERIC = re.compile(
    r"^(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})(?:[ T](\d{1,2}:\d{2})(:\d{2})?(?: ?([AaPp][Mm]))?)?$"
)
_WITH_NAME = re.compile(
    r"^(?:[A-Za-z]{3,9},? )?(?:\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{4}|[A-Za-z]{3,9} \d{1,2},? \d{4})"
)
_ISO_LIKE = re.compile(r"^\d{4}-\d{2}-\d{2}(?:[T ][\d:.,]+[Zz]?)?$")
_CLOCK = re.compile(r"^\d{1,2}:\d{2}(:\d{2})?$")


def looks_like(text: str, column: pl.Series) -> str:
    """Return a clause on what a date looks like and how it is converted, "" where nobody could tell.

    Args:
        text: the date, which is not an ISO date.
        column: all dates, which may tell days from months.
    """
    if _ISO_LIKE.match(text):
        return "; there is no such day or time, or it is outside of the years 1678 to 2261"
    if _CLOCK.match(text):
        return "; it is a time of day, which needs its date"
    if _WITH_NAME.match(text):
        return "; it names its month: convert the column, with pandas.to_datetime for example"
    found = _NUMERIC.match(text)
    if found is None:
        return ""
    first, mark, _, third, clock, seconds, half = found.groups()
    suffix = ""
    if clock:
        suffix = " " + ("%I:%M" if half else "%H:%M") + (":%S" if seconds else "") + (" %p" if half else "")
    if len(first) == 4:
        words, formats = ["year, month, day"], [f"%Y{mark}%m{mark}%d"]
    elif len(third) in (2, 4) and len(first) <= 2:
        year = "%Y" if len(third) == 4 else "%y"
        days_first, months_first = _orders(column, mark)
        words = ["day, month, year"] * days_first + ["month, day, year"] * months_first
        formats = [f"%d{mark}%m{mark}{year}"] * days_first + [f"%m{mark}%d{mark}{year}"] * months_first
    else:
        return ""
    if not words:
        return "; its parts are no day and month in either order"
    advice = " or ".join(f"{form + suffix!r}" for form in formats)
    doubt = ", which the column does not tell apart" if len(words) > 1 else ""
    return (
        f"; it looks like {' or '.join(words)}{doubt}: convert the column, with pandas.to_datetime(..., "
        f"format={advice}) for example"
    )


def _orders(column: pl.Series, mark: str) -> tuple[bool, bool]:
    """Tell whether days may come first in all of a column, and whether months may."""
    pattern = rf"^(\d{{1,2}}){re.escape(mark)}(\d{{1,2}}){re.escape(mark)}"
    largest = [int(column.str.extract(pattern, group).cast(pl.Int64).max() or 0) for group in (1, 2)]  # type: ignore[arg-type]
    return largest[0] <= 31 and largest[1] <= 12, largest[0] <= 12 and largest[1] <= 31
