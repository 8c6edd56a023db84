"""The files that a search reads: one that goes on must find what it began with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from croloss_serving.common.hashing import sha256_of_file
from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.data.inspect import data_of
from lightning_croloss.cli.tune.base import Config
from lightning_croloss.data.table.finding import find_paths
from lightning_croloss.pretrained.layout import MANIFEST
from lightning_croloss.pretrained.registry import find_pretrained
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint

#: Tables of which a search may choose the columns itself, and what the config then need not say of them.
_TABLES = ("items", "users")
_OF_TABLES = (*_TABLES, "item_features", "user_features", "title_column")


def sources_of(config: Config) -> dict[str, str]:
    """Return each file of the data of a config, or of what it starts from, with its checksum.

    Args:
        config: of a fit.

    Raises:
        ValueError: an argument of the data is unusable.
        DataError: the data are not there.
        PretrainedError: there is no such model.
        MissingExtraError: a package that finding the files needs is not installed.
    """
    section = config.get("data") or {}
    files = {str(path): path for path in (*_named(section), *_of_data(section))}
    files |= _of_pretrained(config.get("pretrained"))
    return {name: sha256_of_file(path) for name, path in files.items()}


def _of_data(section: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that the data module finds: those of a folder or a glob, or of a data set by name."""
    if not section:
        return
    arguments = dict(section.get("init_args") or {})
    if section["class_path"].rpartition(".")[2] == "TableDataModule":
        for table in _TABLES:
            if arguments.get(table) is not None:
                yield from find_paths(table, arguments[table], f".{table.removesuffix('s')}")
        arguments = {name: value for name, value in arguments.items() if name not in _OF_TABLES}
    yield from data_of({**section, "init_args": arguments}).source_files()


def _named(value: Any) -> Iterator[Path]:
    """Yield the files that texts of a config name, as a data module of the user's own may read them."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _named(each)
    elif isinstance(value, str):
        try:
            if (path := expanded(value)).is_file():
                yield path
        except (OSError, ValueError):  # no path at all
            return


def _of_pretrained(name: str | None) -> dict[str, Path]:
    """Return the files of a pretrained model, by what the config calls it.

    For a folder its manifest stands, which holds the checksum of each.
    """
    if not name:
        return {}
    path = expanded(name)
    if is_sharded_checkpoint(name):
        return {str(each): each for each in sorted(path.rglob("*")) if each.is_file()}
    found = path if path.is_file() else find_pretrained(name) / MANIFEST
    return {name: found} if found.is_file() else {}  # the run tells why a folder is no model


__all__ = ["sources_of"]
