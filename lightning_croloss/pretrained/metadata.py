"""What the manifest of a pretrained model says of its training, checked before it is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_croloss.errors import PretrainedError

_PLAIN = (str, int, float, bool, type(None))


def _is_reading(value: Any) -> bool:
    """Tell whether this names columns and ways of writing: texts, numbers, and lists of these."""
    return value is None or (
        isinstance(value, dict)
        and all(
            isinstance(entry, _PLAIN)
            or (isinstance(entry, list) and all(isinstance(part, _PLAIN) for part in entry))
            for entry in value.values()
        )
    )


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_history": (lambda value: value is None or (type(value) is int and value >= 1), "a number of events"),
    "user_fingerprint": (lambda value: value is None or isinstance(value, str), "a text"),
    "seed": (lambda value: value is None or type(value) is int, "a whole number"),
    "reading": (_is_reading, "names of columns and ways of writing"),
}
_OPTIONAL = ("reading",)  # which earlier releases did not write


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
