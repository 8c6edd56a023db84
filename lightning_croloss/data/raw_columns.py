"""Columns as a user of the library gives them, checked and exact: tokens, times, weights, parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from croloss_serving.common.vocabulary import Tokens, integers_of, texts_of
from lightning_croloss.errors import DataError

#: Nanoseconds since 1970, or before, that a time may be away: what a table's dates may be, too.
_MOST_NANOSECONDS = 106_751 * 86_400 * 10**9
#: Floats below these tell every integer from the next one.
_EXACT = {np.dtype(np.float16): 2**11, np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}
#: The largest weight that is finite as float32.
_HEAVIEST = float(np.finfo(np.float32).max)
_EPOCH = date(1970, 1, 1).toordinal()
_NUMBERS = (int, float, np.integer, np.floating)
_TIMES = "give int64, float64, datetime64 or date-times"


def factorize(tokens: Tokens, name: str) -> tuple[NDArray[Any] | list[str], NDArray[np.int64]]:
    """Return the sorted distinct tokens, integers or text, and the id (from 1) of each row.

    Whole numbers that are stored as floats, as pandas does where some are missing, are integers.

    Raises:
        DataError: a row has no token, or one that is neither an integer nor text.
    """
    column = _column(tokens, name)
    _refuse_missing(column, name, "has no token", "remove rows without a user or an item")
    if isinstance(column, np.ndarray) and column.dtype.kind == "f":
        column = _whole_numbers(column, name)
    numbers = integers_of(column)
    if numbers is not None:
        distinct, inverse = np.unique(numbers, return_inverse=True)
        return distinct, inverse.reshape(-1).astype(np.int64) + 1
    texts = _texts(column, name)
    known = sorted(set(texts))
    ids = {text: number for number, text in enumerate(known, start=1)}
    return known, np.fromiter(map(ids.__getitem__, texts), dtype=np.int64, count=len(texts))


def exact_times(times: Tokens) -> tuple[NDArray[Any], bool]:
    """Return times as int64 or float64, and whether they are dates, as nanoseconds since 1970.

    Raises:
        DataError: a row has no time, or one that cannot order events exactly.
    """
    column = _column(times, "times")
    _refuse_missing(column, "times", "has no value", "remove the row or give no times at all")
    if not isinstance(column, np.ndarray) and any(isinstance(value, date) for value in column):
        return _nanoseconds_of(column), True
    if not isinstance(column, np.ndarray):
        large = [isinstance(value, int) and not -(2**63) <= value < 2**63 for value in column]
        column = _numbers(column)
        if column.dtype.kind == "O":
            _refuse(np.array(large, dtype=np.bool_), column, "times", "which is too large for a time")
    kind = column.dtype.kind
    if kind == "M":
        return _nanoseconds(column), True
    if kind in "iu":
        _refuse(column > np.iinfo(np.int64).max, column, "times", "which is too large for a time")
        return column.astype(np.int64), False
    if column.dtype != np.float64:
        raise DataError(f"times are {_named(column)}, which cannot order events exactly: {_TIMES}")
    _refuse(~np.isfinite(column), column, "times", "which is not a finite number")
    return column, False


def checked_weights(weights: Tokens) -> NDArray[np.float32]:
    """Return weights as float32.

    Raises:
        DataError: a weight is missing, not finite or negative.
    """
    column = _column(weights, "weights")
    advice = "weights must be finite as float32 and not negative"
    _refuse_missing(column, "weights", "has no value", advice)
    if not isinstance(column, np.ndarray):
        column = _numbers(column)
    if column.dtype.kind == "O":  # integers of any size
        large = [isinstance(value, int) and abs(value) > _HEAVIEST for value in column]
        _refuse(np.array(large, dtype=np.bool_), column, "weights", advice, ": ")
    if column.dtype.kind not in "iufb":
        raise DataError(f"weights are {_named(column)}: {advice}")
    with np.errstate(over="ignore"):
        numbers = column.astype(np.float32)
    _refuse(~np.isfinite(numbers) | (numbers < 0), column, "weights", advice, ": ")
    return numbers


def checked_parts(parts: Tokens) -> NDArray[np.int8]:
    """Return parts as int8.

    Raises:
        DataError: a part is not 0, 1 or 2.
    """
    column = _column(parts, "parts")
    known = [isinstance(part, (int, float, np.number)) and part in (0, 1, 2) for part in column]
    _refuse(
        ~np.array(known, dtype=np.bool_),
        column,
        "parts",
        "write 0 for training, 1 for validation, 2 for test",
        ": ",
    )
    return np.fromiter(map(int, column), dtype=np.int8, count=len(known))


def _column(values: Tokens, name: str) -> Sequence[Any] | NDArray[Any]:
    """Return a column as an array of numbers or dates, or as a list where it holds anything else.

    Raises:
        DataError: it has no order, as a set has none, or is no column at all.
    """
    if isinstance(values, (str, bytes, Mapping, Set)) or not (
        hasattr(values, "__array__") or isinstance(values, Iterable)
    ):
        raise DataError(f"{name} must be a column, such as a list or an array, got {_shown(values)}")
    if isinstance(values, np.ma.MaskedArray):
        values = np.where(
            np.ma.getmaskarray(values), np.array(None, dtype=object), values.data.astype(object)
        )
    if hasattr(values, "__array__"):
        array = _array(values)
        if array.ndim != 1 and array.shape[:1] != (array.size,):
            raise DataError(
                f"{name} must be one column (E,), got the shape {array.shape}: give each row one value"
            )
        array = array.reshape(-1)
        return list(array.tolist()) if array.dtype.kind in "OUT" else array
    values = list(values)
    kinds = set(map(type, values))
    if kinds and all(issubclass(kind, (float, np.floating)) for kind in kinds):
        return np.asarray(values, dtype=np.float64)
    if kinds and all(issubclass(kind, np.datetime64) for kind in kinds):
        return np.asarray(values)
    return values


def _array(values: Any) -> NDArray[Any]:
    """Return what can become an array; of a tensor the values, in float16 where numpy lacks its type."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.half() if values.dtype == torch.bfloat16 else values
    try:
        return np.asarray(values)
    except Exception:  # polars raises errors of its own for types that numpy lacks, such as Int128
        if not hasattr(values, "to_list"):
            raise
        return np.array([*values.to_list(), None], dtype=object)[:-1]


def _shown(value: object) -> str:
    return f"a {type(value).__name__}" if isinstance(value, (Mapping, Set)) else repr(value)


def _numbers(column: Sequence[Any]) -> NDArray[Any]:
    """Return Python's numbers as an array that holds each of them exactly; anything else as objects."""
    exact = integers_of(column)
    if exact is not None:
        return exact
    plain = [value for value in column if isinstance(value, _NUMBERS) and not isinstance(value, bool)]
    if len(plain) == len(column) and all(map(_is_exact, plain)):
        return np.array(plain, dtype=np.float64)
    return np.array([*column, None], dtype=object)[:-1]


def _is_exact(value: Any) -> bool:
    """Tell whether a number keeps its whole part as a float."""
    try:
        return math.isinf(value) or int(value) == int(float(value))
    except OverflowError:
        return False


def _nanoseconds(column: NDArray[Any]) -> NDArray[np.int64]:
    unit, step = np.datetime_data(column.dtype)
    if unit in ("Y", "M", "W"):
        column = column.astype("datetime64[D]")
        unit, step = "D", 1
    scales = {
        "D": 86_400 * 10**9,
        "h": 3_600 * 10**9,
        "m": 60 * 10**9,
        "s": 10**9,
        "ms": 10**6,
        "us": 10**3,
        "ns": 1,
    }
    if unit not in scales:
        raise DataError(f"times are {column.dtype}, finer than nanoseconds: give datetime64[ns]")
    ticks, scale = column.astype(np.int64), scales[unit] * step
    outside = np.abs(ticks) > _MOST_NANOSECONDS // scale
    _refuse(outside, column, "times", "which is before 1678 or after 2261")
    return ticks * scale


def _nanoseconds_of(column: Sequence[Any]) -> NDArray[np.int64]:
    """Return Python's or pandas' dates and date-times, all with a time zone or none."""
    others = [not isinstance(value, date) for value in column]
    _refuse(np.array(others, dtype=np.bool_), column, "times", "which is not a date, unlike others")
    zoned = [isinstance(value, datetime) and value.tzinfo is not None for value in column]
    mixed = np.array(zoned, dtype=np.bool_) != zoned[0]
    _refuse(mixed, column, "times", f"which has {'no' if zoned[0] else 'a'} time zone, unlike the first")
    ticks = list(map(_nanoseconds_since_1970, column))
    outside = [abs(tick) > _MOST_NANOSECONDS for tick in ticks]
    _refuse(np.array(outside, dtype=np.bool_), column, "times", "which is before 1678 or after 2261")
    return np.array(ticks, dtype=np.int64)


def _nanoseconds_since_1970(value: date) -> int:
    """Return a date as an integer of any size: years that pandas' arithmetic refuses are told apart, too."""
    seconds = (value.toordinal() - _EPOCH) * 86_400
    if not isinstance(value, datetime):
        return seconds * 10**9
    seconds += value.hour * 3600 + value.minute * 60 + value.second
    nanoseconds = value.microsecond * 1000 + getattr(value, "nanosecond", 0)
    offset = value.utcoffset() or timedelta()
    nanoseconds -= offset.microseconds * 1000
    return (seconds - offset.days * 86_400 - offset.seconds) * 10**9 + nanoseconds


def _whole_numbers(column: NDArray[Any], name: str) -> NDArray[np.int64]:
    limit = _EXACT.get(column.dtype, 2**53)
    _refuse(
        ~((column == np.round(column)) & (np.abs(column) < limit)),
        column,
        name,
        "users and items must be integers or text",
        ": ",
    )
    return column.astype(np.int64)


def _texts(column: Sequence[Any] | NDArray[Any], name: str) -> list[str]:
    """Return tokens as text, refusing what is neither text nor an integer, and what no file could hold."""
    if isinstance(column, np.ndarray) and column.dtype.kind != "S":
        if column.dtype.kind not in "iu":
            raise DataError(f"{name} are {column.dtype}: users and items must be integers or text")
    elif not isinstance(column, np.ndarray):
        wrong = [isinstance(token, bool) or not isinstance(token, (str, int, np.integer)) for token in column]
        _refuse(
            np.array(wrong, dtype=np.bool_), column, name, "users and items must be integers or text", ": "
        )
    if isinstance(column, np.ndarray) and column.dtype.kind == "S":
        _refuse(~np.array([*map(_is_utf8, column.tolist())]), column, name, "which is not UTF-8: decode it")
    texts = texts_of(column)
    for row, text in enumerate(texts):
        if "\0" in text or not (text.isascii() or _encodable(text)):
            raise DataError(f"{name} holds {text!r} in row {row}, which is not clean text: clean the column")
    return texts


def _is_utf8(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_missing(column: Sequence[Any] | NDArray[Any], name: str, what: str, advice: str) -> None:
    if isinstance(column, np.ndarray):
        missing = column == "" if column.dtype.kind in "SU" else column != column
        if column.dtype.kind == "S":
            missing = np.char.str_len(column) == 0
    else:
        missing = np.fromiter(map(_is_missing, column), dtype=np.bool_, count=len(column))
    if missing.any():
        raise DataError(f"{name} {what} in row {int(np.argmax(missing))}: {advice}")


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value
    # pandas' own values for "missing" equal nothing, not even themselves, or will not say
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def _refuse(
    wrong: NDArray[np.bool_], column: Sequence[Any] | NDArray[Any], name: str, why: str, joint: str = ", "
) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        value = column[row]
        shown = repr(value) if isinstance(value, str) else _spelt(value)
        raise DataError(f"{name} has {shown} in row {row}{joint}{why}")


def _spelt(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # of integers Python spells out so many digits only
        return "an integer of very many digits"


def _named(column: NDArray[Any]) -> str:
    return str(column.dtype) if column.dtype.kind != "O" else f"{type(column[0]).__name__} objects"
