"""The manifest of a folder of partitions: what is in it, so that nothing of it has to be believed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from croloss_serving.common.hashing import sha256_of_file
from lightning_croloss.errors import DataError

FORMAT_VERSION = 1
#: What manifests call the hash of ``partitions_of``, whose module needs polars.
HASH = "fnv1a64-splitmix64"
#: Names that begin with "_" are passed over by whoever reads the folder as a table.
MANIFEST, ITEMS, USERS, PREPARED = "_manifest.json", "_items.parquet", "_users.parquet", "_prepared"
#: The most partitions: beyond, files would be smaller than what is said of them.
MOST = 65_536
#: The most bytes of a manifest: it is some 200 for each partition.
_LARGEST = 1 << 26
#: The most letters of a reason for which rows were left out.
_LONGEST_REASON = 60
_CHECKSUM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PartFile:
    """A file of the folder.

    Attributes:
        file: its name.
        bytes: its size.
        sha256: its checksum.
        rows: number of its rows: events, users or items.
        users: number of users of a partition; 0 of other files.
    """

    file: str
    bytes: int
    sha256: str
    rows: int
    users: int = 0


@dataclass(frozen=True)
class Manifest:
    """What ``croloss data partition`` has written into a folder.

    Attributes:
        partitions: the files of the events; the number of a partition is its place here.
        items: the file of the items' tokens, sorted, and the number of events of each.
        users: the file of the users' tokens, sorted, and the partition of each.
        user_column: column of the users.
        item_column: column of the items.
        columns: the type of each column of the partitions, as polars calls it.
        declared: the types that the header of text files gave columns; what lists are is no type of these.
        sources: the files that were divided.
        left_out: number of rows that were left out, by the reason.
        checksum: of the manifest itself.
    """

    partitions: tuple[PartFile, ...]
    items: PartFile
    users: PartFile
    user_column: str
    item_column: str
    columns: Mapping[str, str]
    sources: tuple[str, ...]
    left_out: Mapping[str, int]
    declared: Mapping[str, str] = field(default_factory=dict)
    checksum: str = ""

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(part.rows for part in self.partitions)

    def write(self, folder: Path) -> None:
        """Write the manifest; the last thing that is written into a folder."""
        plain = asdict(self)
        del plain["checksum"]
        content = {"format_version": FORMAT_VERSION, "hash": HASH, **plain}
        (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder, and see that the files are there and have their sizes.

        Raises:
            DataError: there is none, it is not what this package writes, or a file is missing or changed.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise DataError(
                f"partitioned_by_user: {str(folder)!r} has no {MANIFEST}: divide the table by 'croloss data "
                "partition', and name the folder that it writes"
            )
        if path.stat().st_size > _LARGEST:
            raise _damaged(path, "it is too large")
        checksum = sha256_of_file(path)
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            raise _damaged(path, "it is no JSON") from None
        found = cls(**_checked(path, plain), checksum=checksum)
        for part in (*found.partitions, found.items, found.users):
            file = folder / part.file
            if not file.is_file():
                raise DataError(f"{folder}: {part.file} is missing, which {MANIFEST} names: {_AGAIN}")
            if file.stat().st_size != part.bytes:
                raise _changed(folder, part)
        return found


_AGAIN = "restore it, or divide the table again by 'croloss data partition'"


def check_content(folder: Path, part: PartFile) -> Path:
    """Return the path of a file whose content is that of the manifest.

    Raises:
        DataError: it is not.
    """
    if sha256_of_file(folder / part.file) != part.sha256:
        raise _changed(folder, part)
    return folder / part.file


def part_name(number: int) -> str:
    """Return the name of the file of a partition."""
    return f"part-{number:05}.parquet"


def _checked(path: Path, plain: Any) -> dict[str, Any]:
    """Return the fields of a manifest, if they are such as this package writes."""
    if not isinstance(plain, dict) or type(plain.get("format_version")) is not int:
        raise _damaged(path, "it does not say its format")
    if plain["format_version"] != FORMAT_VERSION:
        theirs = f"{plain['format_version']!s:.20}"
        raise DataError(
            f"{path} is of format {theirs}, this release reads {FORMAT_VERSION}: update the package, or "
            "divide the table again by 'croloss data partition'"
        )
    if plain.get("hash") != HASH:
        raise DataError(
            f"{path} divides users by the hash {plain.get('hash')!r:.60}, but this release knows {HASH!r} "
            "only: divide the table again by 'croloss data partition'"
        )
    parts = plain.get("partitions")
    if not isinstance(parts, list) or not 1 <= len(parts) <= MOST:
        raise _damaged(path, f"it must list 1 … {MOST:,} partitions")
    partitions = tuple(_part(path, part, part_name(number)) for number, part in enumerate(parts))
    items, users = _part(path, plain.get("items"), ITEMS), _part(path, plain.get("users"), USERS)
    columns, sources, left_out = (plain.get(name) for name in ("columns", "sources", "left_out"))
    if columns is None or not (_is_texts(columns, str) and _are_reasons(left_out)):
        raise _damaged(path, "its columns or left_out are no names with types or numbers")
    declared = plain.get("declared", {})  # which earlier releases did not write
    if not _is_texts(declared, str) or not declared.keys() <= columns.keys():
        raise _damaged(path, "what headers said of its columns is none")
    if not isinstance(sources, list) or not sources or not all(isinstance(name, str) for name in sources):
        raise _damaged(path, "its sources are no names")
    named = {name: plain.get(name) for name in ("user_column", "item_column")}
    for name, column in named.items():
        if not isinstance(column, str) or column not in columns:
            raise _damaged(path, f"its {name} is no column of it")
    if sum(part.users for part in partitions) != users.rows:
        raise _damaged(path, "the users of its partitions are not as many as its users")
    if not sum(part.rows for part in partitions) or not items.rows:
        raise _damaged(path, "it has no events")
    if any(not min(part.rows, 1) <= part.users <= part.rows for part in partitions):
        raise _damaged(path, "a partition cannot have so many users with so many events")
    return {
        "partitions": partitions,
        "items": items,
        "users": users,
        **named,
        "columns": columns,
        "declared": declared,
        "sources": tuple(sources),
        "left_out": left_out,
    }


def _part(path: Path, plain: Any, name: str) -> PartFile:
    fields = set(PartFile.__dataclass_fields__)
    if not isinstance(plain, dict) or plain.keys() != fields or plain["file"] != name:
        raise _damaged(path, f"it does not describe {name}")
    counts = [plain[field] for field in ("bytes", "rows", "users")]
    checksum = plain["sha256"]
    if not all(type(count) is int and 0 <= count < 2**62 for count in counts) or not (
        isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)
    ):
        raise _damaged(path, f"the size or checksum of {name} is none")
    return PartFile(**plain)


def _is_texts(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and type(entry) is kind for name, entry in value.items()
    )


def _are_reasons(value: Any) -> bool:
    """Tell whether it maps texts that can be shown to counts."""
    return _is_texts(value, int) and all(
        name.isprintable() and len(name) <= _LONGEST_REASON and 0 <= count < 2**62
        for name, count in value.items()
    )


def with_parts(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that a data module says it reads, and for a manifest all that lie beside it."""
    for path in files:
        if path.name == MANIFEST:
            yield from path.parent.iterdir()
        else:
            yield path


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged, {why}: divide the table again by 'croloss data partition'")


def _changed(folder: Path, part: PartFile) -> DataError:
    return DataError(f"{folder}: {part.file} is not the file that {MANIFEST} describes: {_AGAIN}")


__all__ = [
    "ITEMS",
    "MANIFEST",
    "MOST",
    "PREPARED",
    "USERS",
    "Manifest",
    "PartFile",
    "check_content",
    "part_name",
    "with_parts",
]
