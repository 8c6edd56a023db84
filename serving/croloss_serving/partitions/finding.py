"""find_partitions: the tables of a folder, and where the output of each goes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from croloss_serving.common.folders import leads_nowhere, walk
from croloss_serving.common.home_folder import expanded
from croloss_serving.errors import DataError
from croloss_serving.partitions.partition import Partition

PARQUET = (".parquet", ".pq")
#: What names of tables end in that croloss recommend reads, compressed or not: to pass over one would lose
#: its users.
_TABLES = (*PARQUET, ".csv", ".tsv", ".inter", ".jsonl", ".ndjson", ".json")
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")


def find_partitions(
    histories: str | Path,
    output: str | Path,
    shard: tuple[int, int] = (1, 1),
    extensions: Sequence[str] = PARQUET,
) -> list[Partition]:
    """Return the partitions of a folder in the order of their names, those of one shard alone.

    Links are followed, and what several lead to is taken once. Files whose name begins with "." or "_" are no
    partitions, nor is what lies in such folders.

    Args:
        histories: a folder of tables, searched to its depths.
        output: the folder of the outputs, each of the name of its table and in the same sub-folder.
        shard: (i, of): the i-th, (i + of)-th, … partition, i being 1 … of.
        extensions: what names of tables end in.

    Raises:
        DataError: ``histories`` is not a folder or holds no table, a table or link in it cannot be read, two
            tables have one output, or outputs would lie where tables are read.
        OSError: a folder cannot be looked into.
        ValueError: there is no such shard.
    """
    index, of = shard
    if not 1 <= index <= of:
        raise ValueError(f"the shard {index}/{of} must be i/of with i in 1 … of, such as 1/4")
    folder, target = expanded(histories), expanded(output)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of tables")
    sources: dict[str, Path] = {}
    for path in sorted(_tables_in(folder, target, tuple(extensions))):
        sources.setdefault(os.path.realpath(path), path)
    if not sources:
        raise DataError(f"{folder} holds no table: names must end in {', '.join(extensions)}")
    partitions = [Partition(path, target / _output_of(path, folder)) for path in sources.values()]
    _check_outputs(partitions, sources.keys())
    return partitions[index - 1 :: of]


def _tables_in(folder: Path, target: Path, extensions: tuple[str, ...]) -> Iterator[Path]:
    """Yield the tables of a folder, which must not hold the folder of the outputs."""
    outputs = target.resolve()
    for here, names in walk(folder):
        if outputs.is_relative_to(here.resolve()):
            raise DataError(
                f"the output {target} lies in {here}, whose tables are read: choose a folder beside it"
            )
        for path in (here / name for name in names):
            if (nowhere := leads_nowhere(path)) is not None:
                raise DataError(f"{path} is a link that leads nowhere, to {nowhere!r}: remove it")
            if path.name.lower().endswith(extensions):
                if not path.is_file():
                    raise DataError(
                        f"{path} is neither a file nor a folder: write its content to a file, or remove it"
                    )
                yield path
            elif _is_table(path):
                raise DataError(
                    f"{path} would be left out, since names of tables must end in {', '.join(extensions)}: "
                    'convert it, or put "_" before its name'
                )


def _is_table(path: Path) -> bool:
    """Tell by its name whether a file is a table."""
    plain = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    return plain.suffix.lower() in _TABLES


def _output_of(path: Path, folder: Path) -> Path:
    """Return the output of a table, from the folder of the outputs on."""
    inner = path.relative_to(folder)
    return inner if path.suffix.lower() in PARQUET else inner.with_name(f"{inner.name}.parquet")


def _check_outputs(partitions: Sequence[Partition], sources: Collection[str]) -> None:
    """Refuse outputs that are one file, one the folder of another, or tables that are read.

    Some file systems make no difference between small and capital letters, nor between the ways in which
    Unicode writes a letter.

    Args:
        partitions: all of them, not those of one shard alone: jobs would overwrite what others wrote.
        sources: the real paths of their tables.
    """
    source_of: dict[str, Path] = {}
    for partition in partitions:
        other = source_of.setdefault(_alike(partition.output), partition.source)
        if other != partition.source:
            raise DataError(
                f"{other} and {partition.source} would have the same output {partition.output}: rename one"
            )
        if os.path.realpath(partition.output) in sources:
            raise DataError(
                f"the output {partition.output} is itself a table that is read: choose another folder"
            )
    for partition in partitions:
        for parent in partition.output.parents:
            if (above := source_of.get(_alike(parent))) is not None:
                raise DataError(
                    f"the output of {above} would be {parent}, the folder of the output of "
                    f"{partition.source}: rename one"
                )


def _alike(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
