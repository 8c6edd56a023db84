"""What the manifest of a pretrained model says of its training, checked before it is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from croloss_serving.common.plain_values import TOO_LARGE
from lightning_croloss.data.history_filters import FILTERS, read_filters
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.saving import FROM_DATA

_PLAIN = (str, int, float, bool, type(None))


def _is_reading(value: Any) -> bool:
    """Tell whether this names columns and ways of writing, texts, numbers and lists of these, and filters."""
    if not isinstance(value, dict):
        return value is None
    try:
        read_filters(value.get(FILTERS, []))
    except ValueError:
        return False
    return all(
        isinstance(entry, _PLAIN)
        or (isinstance(entry, list) and all(isinstance(part, _PLAIN) for part in entry))
        for name, entry in value.items()
        if name != FILTERS
    )


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_history": (
        lambda value: value is None or (type(value) is int and 1 <= value < TOO_LARGE),
        "a number of events",
    ),
    "user_fingerprint": (lambda value: value is None or isinstance(value, str), "a text"),
    "seed": (
        lambda value: value is None or (type(value) is int and abs(value) < 2 * TOO_LARGE),
        "a whole number of 64 bits",
    ),
    "reading": (_is_reading, "names of columns, ways of writing and filters"),
}
_OPTIONAL = ("reading",)  # which earlier releases did not write


def _is_features(value: Any) -> bool:
    numbers = ("size", "width")
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and all(isinstance(entry.get(name), str) for name in ("name", "kind"))
        and all(type(entry.get(name)) is int and 0 <= entry[name] < TOO_LARGE for name in numbers)
        for entry in value
    )


def checked_arguments(arguments: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the arguments of a model that came from its data, as a manifest holds them.

    Args:
        arguments: the arguments.
        path: the manifest, for errors.

    Raises:
        PretrainedError: one is no such argument, or is of another type.
    """
    for name, value in arguments.items():
        if name not in FROM_DATA:
            raise PretrainedError(f"{path}: {name!r} does not come from the data of a model")
        least = 1 if name == "num_items" else 0
        is_number = type(value) is int and least <= value < TOO_LARGE
        if not (is_number if name.startswith("num_") else _is_features(value)):
            wanted = f"a whole number from {least} on" if name.startswith("num_") else "a list of features"
            raise PretrainedError(f"{path}: {name!r} must be {wanted}, got {value!r:.80}")
    return arguments


def checked_metadata(kept: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return what a manifest says of the training of its model.

    Args:
        kept: what it says.
        path: the manifest, for errors.

    Raises:
        PretrainedError: something is missing, or is of another type.
    """
    for name, (is_right, wanted) in _CHECKS.items():
        if name not in kept and name in _OPTIONAL:
            continue
        if name not in kept:
            raise PretrainedError(f"{path} does not say {name!r}: it is damaged")
        if not is_right(kept[name]):
            raise PretrainedError(f"{path}: {name!r} must be {wanted} or null, got {kept[name]!r:.80}")
    return kept
