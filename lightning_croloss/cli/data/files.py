"""The files that the data of a config are read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.data.inspect import data_of
from lightning_croloss.data.table.finding import find_paths

#: Tables of which a search may choose the columns itself, and what the config then need not say of them.
_TABLES = ("items", "users")
_OF_TABLES = (*_TABLES, "item_features", "user_features", "title_column")


def files_of_data(section: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that the section ``data`` of a config names, and those that its data module finds.

    Args:
        section: the section as plain values; it may be empty.

    Raises:
        ValueError: an argument of the data is unusable.
        DataError: the data are not there.
        MissingExtraError: a package that finding the files needs is not installed.
    """
    yield from _named(section)
    yield from _of_data(section)


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


__all__ = ["files_of_data"]
