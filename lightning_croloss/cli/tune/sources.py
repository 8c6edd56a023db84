"""The files that a search reads: one that goes on must find what it began with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from croloss_serving.common.hashing import sha256_of_file
from lightning_croloss.cli.tune.base import Config

#: What stands for a folder of prepared partitions, or of a pretrained model.
MANIFEST = "manifest.json"


def sources_of(config: Config) -> dict[str, str]:
    """Return each file that a config names as its data, or as what it starts from, with its checksum."""
    return {
        str(path): sha256_of_file(path) for path in _paths([config.get("data"), config.get("pretrained")])
    }


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, str):
        for path in (Path(value).expanduser(), Path(value).expanduser() / MANIFEST):
            try:
                found = path.is_file()
            except (OSError, ValueError):  # no path at all
                return
            if found:
                yield path


__all__ = ["sources_of"]
