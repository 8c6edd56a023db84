"""How a value of Python may be spelled in the tokens of a feature, which were texts of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,30})")


def plain_value(value: Any) -> Any:
    """Return a value as plain Python: numpy's scalars and other libraries' lists, and None where missing.

    Missing are None, "", NaN and the missing values of pandas.
    """
    if isinstance(value, np.datetime64) and np.datetime_data(value.dtype)[0] not in ("D", "s", "ms", "us"):
        value = value.astype("datetime64[us]")  # its nanoseconds would become an integer
    if isinstance(value, np.generic):
        value = value.item()
    elif hasattr(value, "to_list"):
        value = value.to_list()
    missing = isinstance(value, float) and math.isnan(value)
    if missing or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, str) and value == ""):
        return None
    return value


def spellings(value: Any) -> Sequence[str]:
    """Return the texts that tables write a plain value as, the likeliest first."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, bool):
        return [str(value).lower(), str(value)]
    if isinstance(value, float):
        # whole numbers of which some are missing are often floats
        whole = [str(int(value)), f"{int(value)}.0"] if value.is_integer() else []
        return [*whole, repr(value), repr(value).replace("e-0", "e-"), str(np.float32(value))]
    if isinstance(value, int):
        return [str(value), repr(float(value))] if abs(value) <= 2**53 else [str(value)]
    if isinstance(value, datetime):
        exact = value.isoformat(" ", "microseconds")
        return [str(value), exact, f"{exact}000", value.isoformat(" ", "milliseconds"), value.isoformat()]
    return [str(value)]


def said_by(text: str) -> int | bool | None:
    """Return the whole number or truth value that a text stands for in any spelling; None if it is another.

    A column of whole numbers of which some are missing is often one of floats: "5" is then "5.0". A text such
    as "05" is a code, and "1.10" may be a version.
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    whole, _, zeros = text.partition(".")
    if not _WHOLE.fullmatch(whole) or zeros.strip("0") or text.endswith("."):
        return None
    return int(whole)
