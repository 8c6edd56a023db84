"""Plain values of a file that may be a stranger's: few enough to be looked through."""

from __future__ import annotations

from typing import Any

import torch

from croloss_serving.common.plain_values import check_bounded
from lightning_croloss.errors import PretrainedError

_CONTAINERS = (dict, list, tuple, set, frozenset)
#: More lists and dictionaries than this, one within the other, or in all, are an attack: each that is named
#: many times costs nothing in the file, and is looked through as often as it is named.
DEPTH, COUNT = 100, 1_000_000
#: Hyperparameters, which a person has written and constructors look through.
MOST_HYPERPARAMETERS = 100_000
#: How many times as many values as it holds a file may stand for: few lists stand in several places.
MOST_SHARED = 4


def check_expansion(content: Any, where: str) -> None:
    """Refuse lists and dictionaries that name each other without end, or too often to be looked through.

    Args:
        content: what a file holds; each object is visited once.
        where: the file, for errors.

    Raises:
        PretrainedError: naming the file.
    """
    try:
        # a catalogue's many items are no attack: what is many here is lists and dictionaries
        held = check_bounded(content, DEPTH + 1, COUNT, counts_leaves=False)
        # but one list of many items in very many places is
        check_bounded(content, DEPTH + 1, COUNT + MOST_SHARED * held)
    except ValueError:
        raise PretrainedError(
            f"{where} is damaged, or was made to exhaust memory: its lists and dictionaries are nested more "
            f"than {DEPTH} deep, or are more than {COUNT:,}, or stand in too many places"
        ) from None


def check_tensors(content: Any, where: str) -> None:
    """Refuse tensors that have a shape and no values: a few bytes declare as many as they like.

    Args:
        content: what a file holds, few enough values to be looked through; each object is visited once.
        where: the file, for errors.

    Raises:
        PretrainedError: naming the file and the shape.
    """
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if value.is_meta:
                raise PretrainedError(
                    f"{where} is damaged: it declares a tensor of the shape {tuple(value.shape)} and holds "
                    "none of its values"
                )
        elif isinstance(value, _CONTAINERS) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


def check_hyperparameters(values: Any, where: str) -> None:
    """Refuse hyperparameters that are no plain values, or are too many to be looked through.

    Constructors look through every list of them, wherever it stands.

    Args:
        values: few enough lists and dictionaries, see :func:`check_expansion`.
        where: the file, for errors.

    Raises:
        PretrainedError: naming the file, and the type.
    """
    try:
        check_bounded(values, DEPTH + 1, MOST_HYPERPARAMETERS)
    except ValueError:
        raise PretrainedError(
            f"{where} is damaged, or was made to exhaust memory: its hyperparameters are more than "
            f"{MOST_HYPERPARAMETERS:,} values"
        ) from None
    check_plain(values, where)


def check_plain(values: Any, where: str) -> None:
    """Refuse hyperparameters that are no numbers, texts, lists or dictionaries.

    Raises:
        PretrainedError: naming the file and the type.
    """
    if isinstance(values, dict):
        for name, entry in values.items():
            check_plain(name, where)
            check_plain(entry, where)
    elif isinstance(values, (list, tuple)):
        for entry in values:
            check_plain(entry, where)
    elif values is not None and not isinstance(values, (bool, int, float, str)):
        raise PretrainedError(
            f"{where} is damaged: its hyperparameters hold a {type(values).__name__}, not only plain values"
        )
