"""Partition: a table of histories, its output, and the settings with which that was written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from croloss_serving.common.hashing import sha256_of
from croloss_serving.errors import DataError

#: Where the metadata of an output holds its settings.
METADATA_KEY = b"croloss"
BYTES, CHECKSUM = "bytes of the table", "checksum of the table"
OF_TABLE = (BYTES, CHECKSUM)
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Partition:
    """A table of histories, and the file of its users' items.

    Attributes:
        source: the table.
        output: the Parquet file.
    """

    source: Path
    output: Path

    def settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of all partitions with what tells this table, which should be the same too."""
        return {
            **settings,
            BYTES: self.source.stat().st_size,
            CHECKSUM: checksum_of_table(self.source),
        }

    def metadata(self, settings: Mapping[str, Any]) -> dict[bytes, bytes]:
        """Return the metadata of the output's schema that says with which settings it was written."""
        return {METADATA_KEY: json.dumps(self.settings(settings), sort_keys=True).encode()}

    def is_complete(self, settings: Mapping[str, Any]) -> bool:
        """Tell whether the output is there, written with these settings.

        Raises:
            DataError: it was written with others, or is something else.
        """
        if not self.output.exists():
            return False
        before = _settings_of(self.output)
        if before is None:
            raise DataError(
                f"{self.output} is not an output of recommending by partitions: choose another folder, or "
                "remove it"
            )
        now = json.loads(json.dumps(self.settings(settings)))
        if CHECKSUM not in before:  # an earlier release kept none
            del now[CHECKSUM]
        for name in [*now, *before]:
            if not _same(before.get(name), now.get(name)):
                raise DataError(
                    f"{self.output} was written with {name} = {before.get(name)!r}, which is now "
                    f"{now.get(name)!r}: choose another folder, or remove it "
                    "(croloss recommend replaces it with --overwrite)"
                )
        return True


def _same(before: Any, now: Any) -> bool:
    """Tell whether settings are the same; NaN is itself."""
    return bool(before == now or json.dumps(before, sort_keys=True) == json.dumps(now, sort_keys=True))


def checksum_of_table(path: Path) -> str:
    """Return a checksum of a file: of Parquet the footer's, which tells its parts, of others the content's.

    The footer has the sizes and the extremes of the columns' parts: another table of the same size is told
    from this one unless these agree too. All of it need not be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read(8)
        length = int.from_bytes(end[:4], "little") + 8
        is_parquet = end[4:] == _MAGIC and length <= size
        file.seek(size - length if is_parquet else 0)
        return sha256_of(file)[:16]


def _settings_of(path: Path) -> dict[str, Any] | None:
    """Return the settings with which an output was written; None if it is none."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        metadata = parquet.read_schema(path).metadata or {}
        settings = json.loads(metadata[METADATA_KEY])
    except (pyarrow.ArrowException, OSError, KeyError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None
