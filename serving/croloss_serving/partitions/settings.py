"""Settings of a job as JSON has them, so that a later run can compare its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any

import numpy as np


def plain_setting(name: str, value: Any) -> Any:
    """Return a setting as plain Python: numbers, texts, truth values, None, and lists and mappings of them.

    Scalars and arrays of numpy, and the columns of other libraries, count as what they hold; a set, which has
    no order, is sorted.

    Args:
        name: what errors call it.
        value: the setting.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        plain = {str(key): plain_setting(name, each) for key, each in value.items()}
        if len(plain) < len(value):
            raise TypeError(f"{name} has two keys of the same text, which later runs could not tell apart")
        return plain
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, (Collection, np.ndarray)):
        raise TypeError(
            f"{name} must be a number, a text or a list of them, which later runs compare, got {value!r:.60}"
        )
    entries = [plain_setting(name, each) for each in value]
    return sorted(entries, key=_order) if isinstance(value, Set) else entries


def _order(value: Any) -> tuple[str, str]:
    return str(value), repr(value)  # 1 and "1" have an order too
