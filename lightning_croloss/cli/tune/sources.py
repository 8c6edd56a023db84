"""The files that a search reads: one that goes on must find what it began with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_croloss.cli.tune.base import Config

#: Bytes at either end of a file that are looked at, besides its size: what is added to a table is at its end,
#: and a Parquet file ends with what is known of all of it.
ENDS = 2**20
#: What stands for a folder of prepared partitions, or of a pretrained model.
MANIFEST = "manifest.json"


def sources_of(config: Config) -> dict[str, str]:
    """Return each file that a config names as its data, or as what it starts from, with a digest of it."""
    return {str(path): _digest(path) for path in _paths([config.get("data"), config.get("pretrained")])}


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


def _digest(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(ENDS)
        if size > ENDS:
            file.seek(max(ENDS, size - ENDS))
            ends += file.read(ENDS)
    return f"{size} {hashlib.blake2b(ends, digest_size=8).hexdigest()}"


__all__ = ["sources_of"]
