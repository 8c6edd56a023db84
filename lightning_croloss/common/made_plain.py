"""Values of the user's own as the plain ones that a file takes, before anything of the file is written."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence, Set
from os import PathLike, fspath
from typing import Any

import numpy as np
import torch


def made_plain(value: Any, name: str, of_json: bool = False) -> Any:
    """Return a value as texts, numbers, truth values, None, and lists and dictionaries of them.

    Tensors and arrays are the numbers that they hold, paths are texts.

    Args:
        value: the value.
        name: what errors call it.
        of_json: whether it must be what JSON has: numbers that are finite, and dates as texts.

    Raises:
        ValueError: a number is not finite, or a text holds half a letter; the message names the entry.
        TypeError: something is not plain.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().tolist()
    elif isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    elif isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, str):
        return check_text(str.__str__(value), name)  # the value of an enumeration, not its name
    if isinstance(value, datetime.date):
        return value.isoformat() if of_json else value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if of_json and not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which JSON has no number for: leave it out")
        return float(value)
    if isinstance(value, Mapping):
        return {
            _key(key, name): made_plain(entry, f"{name}[{key!r:.60}]", of_json)
            for key, entry in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [made_plain(entry, f"{name}[{number}]", of_json) for number, entry in enumerate(value)]
    unordered = " (a set has no order: make it a list)" * isinstance(value, Set)
    raise TypeError(
        f"{name} is a {type(value).__name__}, which is no plain value: give numbers, texts, and lists and "
        f"dictionaries of them{unordered}"
    )


def check_text(text: str, name: str) -> str:
    """Return a text, unless a file in UTF-8 cannot hold it.

    Raises:
        ValueError: it holds half a letter.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds half a letter ({text[error.start]!r}), which no file can hold"
        ) from None
    return text


def _key(key: Any, name: str) -> Any:
    if isinstance(key, str):
        return check_text(str(key), f"a name in {name}")
    if isinstance(key, np.integer) or type(key) is int:
        return int(key)
    raise TypeError(f"{name} has the name {key!r:.60}: names are texts or whole numbers")
