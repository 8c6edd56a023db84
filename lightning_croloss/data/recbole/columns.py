"""The columns of a RecBole dataset's atomic files; needs no RecBole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_croloss.data.recbole.atomic import EXTENSIONS, AtomicFile, open_atomic
from lightning_croloss.errors import DataError, suggest

ALIASES = ("alias_of_user_id", "alias_of_item_id")


class Columns:
    """The columns of a dataset's atomic files, and which of them are loaded.

    Args:
        folder: folder with the files.
        dataset: name of the dataset.
        settings: RecBole settings with their defaults.
        ragged: as for :func:`open_atomic`.

    Raises:
        ValueError: if a setting is unusable.
        DataError: if a file cannot be read, or its header is malformed.
    """

    def __init__(
        self, folder: Path, dataset: str, settings: Mapping[str, Any], ragged: str = "error"
    ) -> None:
        self.settings = settings
        self.files: dict[str, AtomicFile] = {}
        self.types: dict[str, Mapping[str, str]] = {}
        self.names: dict[str, str] = {}
        for extension in EXTENSIONS:
            path = folder / f"{dataset}.{extension}"
            if path.is_file():
                file = self.files[extension] = open_atomic(path, settings, ragged)
                self.names[extension], self.types[extension] = file.name, file.types

    def default(self) -> dict[str, list[str]]:
        """Return a ``load_col`` with the user, the item, the time and the columns of ``val_interval``."""
        keys = {"inter": [], "user": ["USER_ID_FIELD"], "item": ["ITEM_ID_FIELD"]}
        time = self.settings.get("TIME_FIELD")
        loaded = {"inter": [self.settings["USER_ID_FIELD"], self.settings["ITEM_ID_FIELD"]]}
        if time in self.types["inter"]:
            loaded["inter"].append(time)
        for column in self.settings.get("val_interval") or {}:
            for extension, types in self.types.items():
                if column in types:
                    chosen = loaded.setdefault(extension, [self.settings[key] for key in keys[extension]])
                    if column not in chosen:
                        chosen.append(column)
                    break
        return loaded

    def loaded(self, extension: str) -> list[str]:
        """Return the columns of the file with this extension that RecBole will load."""
        load_col, unload_col = self.settings.get("load_col"), self.settings.get("unload_col") or {}
        present = list(self.types.get(extension, {}))
        if load_col is not None and extension not in load_col:
            return []
        chosen = present if load_col is None or load_col[extension] == "*" else load_col[extension]
        return [name for name in present if name in chosen and name not in unload_col.get(extension, [])]

    def ids(self, extension: str) -> list[str]:
        """Return the columns of users and items that the file with this extension must have."""
        user, item = str(self.settings["USER_ID_FIELD"]), str(self.settings["ITEM_ID_FIELD"])
        return {"inter": [user, item], "user": [user], "item": [item]}[extension]

    @property
    def aliases(self) -> list[str]:
        """The columns whose tokens are users or items, too."""
        return [name for key in ALIASES for name in self.settings.get(key) or []]

    def used(self, extension: str) -> list[str]:
        """Return those of the loaded columns that something depends on: ids, time, filters, aliases."""
        filtered = self.settings.get("val_interval") or {}
        used = {*self.ids(extension), *self.aliases, *filtered, self.settings.get("TIME_FIELD")}
        return [name for name in self.loaded(extension) if name in used]

    def type_of(self, name: str) -> str:
        """Return the type of a column; of several of one name that of the last file that loads it."""
        having = [extension for extension, types in self.types.items() if name in types]
        loading = [extension for extension in having if name in self.loaded(extension)]
        return self.types[(loading or having)[-1]][name]

    def check_present(self, name: str, extension: str, where: str) -> None:
        """Refuse a column that the file with this extension does not have.

        Raises:
            DataError: naming the column, the file, and ``where`` the column is named.
        """
        if name not in self.types[extension]:
            raise DataError(
                f"{where} names {name!r}, which is not a column of {self.names[extension]}"
                f"{suggest(name, self.types[extension])}"
            )

    def left_out(self, name: str, extension: str) -> str:
        """Say of a column that is not loaded why, and what to do, as the end of a sentence."""
        if name in (self.settings.get("unload_col") or {}).get(extension, []):
            return f"which unload_col[{extension!r}] leaves out: take it out there"
        return f"which load_col does not load: add it to load_col[{extension!r}]"

    def time_field(self, explicit: bool) -> str | None:
        """Return the column that orders the events, or None for the order of the file.

        Args:
            explicit: whether the user set TIME_FIELD.

        Raises:
            DataError: if the column is missing or is not a number.
            ValueError: if the user set it, and it is not loaded.
        """
        name = self.settings.get("TIME_FIELD")
        if name is None:
            return None
        file = self.names["inter"]
        if explicit:
            self.check_present(name, "inter", "TIME_FIELD")
        if name not in self.loaded("inter"):
            if name not in self.types["inter"]:
                reason = (
                    f"{file}, which has no column {name!r}: set TIME_FIELD, to null if that order is meant"
                )
            else:
                remedy = (
                    f"{self.left_out(name, 'inter')}, or set TIME_FIELD to null to keep the order of {file}"
                )
                if explicit:
                    raise ValueError(f"TIME_FIELD names {name!r}, {remedy}")
                reason = f"the file, not that of the times in {name!r}, {remedy}"
            warnings.warn(f"events keep the order of {reason}", stacklevel=2)
            return None
        if self.types["inter"][name] != "float":
            raise DataError(
                f"column {name!r} of {self.names['inter']} is of type {self.types['inter'][name]!r}: "
                "the time must be of type 'float'"
            )
        return str(name)
