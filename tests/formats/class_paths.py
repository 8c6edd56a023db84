"""The names of classes in plain values, as files hold them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from lightning_croloss.common.former_names import today


def every_class_path(value: Any) -> Iterator[str]:
    """Go through the class paths in plain values."""
    if isinstance(value, dict):
        yield from (entry for key, entry in value.items() if key in ("class_path", "_class_path"))
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from every_class_path(entry)


def is_public(path: str) -> bool:
    """Tell whether a class path is one of ours that may stay as it is, or not ours."""
    package, _, name = path.rpartition(".")
    if not package.startswith("lightning_croloss"):
        return True
    return name in importlib.import_module(package).__all__ and today(path) == path
