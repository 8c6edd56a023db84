"""The columns of a RecBole dataset's atomic files; needs no RecBole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_croloss.data.recbole.atomic import EXTENSIONS, AtomicFile, open_atomic
from lightning_croloss.data.recbole.settings import check_interval
from lightning_croloss.errors import DataError, suggest


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
        keys = ("alias_of_user_id", "alias_of_item_id")
        return [name for key in keys for name in self.settings.get(key) or []]

    def used(self, extension: str) -> list[str]:
        """Return those of the loaded columns that something depends on: ids, time, filters, aliases."""
        filtered = self.settings.get("val_interval") or {}
        used = {*self.ids(extension), *self.aliases, *filtered, self.settings.get("TIME_FIELD")}
        return [name for name in self.loaded(extension) if name in used]

    def check(self) -> None:
        """Refuse settings that name columns which are not there.

        Raises:
            DataError: naming the column and the file.
            ValueError: if a filter needs a column that is not loaded.
        """
        for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
            self._check_present(self.settings[key], "inter", key)
        for extension, names in (self.settings.get("load_col") or {}).items():
            for name in names if extension in self.types and names != "*" else ():
                self._check_present(name, extension, f"load_col[{extension!r}]")
        for extension, kinds in self.types.items():
            loaded_here = self.loaded(extension)
            for name in self.ids(extension) if extension == "inter" or loaded_here else ():
                if name not in loaded_here:
                    key = "USER_ID_FIELD" if name == self.settings["USER_ID_FIELD"] else "ITEM_ID_FIELD"
                    self._check_present(name, extension, key)
                    raise ValueError(f"load_col[{extension!r}] must list {name!r}, which is the {key}")
                if kinds[name] != "token":
                    raise DataError(
                        f"column {name!r} of {self.names[extension]} is of type {kinds[name]!r}: "
                        "users and items must be of type 'token'"
                    )
        everything = [name for extension in self.types for name in self.types[extension]]
        loaded = {name: kinds[name] for end, kinds in self.types.items() for name in self.loaded(end)}
        filtered = dict(self.settings.get("val_interval") or {})
        for name in [*filtered, *self.aliases]:
            where = "val_interval" if name in filtered else "alias_of_user_id or alias_of_item_id"
            if name not in everything:
                files = ", ".join(self.names.values())
                raise DataError(
                    f"{where} names {name!r}, which is not a column of {files}{suggest(name, everything)}"
                )
            if name not in loaded:
                raise ValueError(f"{where} names {name!r}, which load_col does not load: add it to load_col")
            kind = loaded[name]
            if kind not in (("token", "float") if name in filtered else ("token", "token_seq")):
                raise DataError(
                    f"{where} names {name!r}, which is of type {kind!r}: it must be "
                    f"{'token or float' if name in filtered else 'token or token_seq'}"
                )
        for name, value in filtered.items():
            if loaded[name] == "float":
                check_interval(f"val_interval[{name!r}]", value)
            elif not isinstance(value, list) or not all(isinstance(token, str) for token in value):
                raise ValueError(
                    f"val_interval[{name!r}]={value!r} must be a list of the tokens to keep, as text"
                )

    def _check_present(self, name: str, extension: str, where: str) -> None:
        if name not in self.types[extension]:
            raise DataError(
                f"{where} names {name!r}, which is not a column of {self.names[extension]}"
                f"{suggest(name, self.types[extension])}"
            )

    def time_field(self, explicit: bool) -> str | None:
        """Return the column that orders the events, or None for the order of the file.

        Args:
            explicit: whether the user set TIME_FIELD.

        Raises:
            DataError: if the column is missing or is not a number.
        """
        name = self.settings.get("TIME_FIELD")
        if name is None:
            return None
        if explicit:
            self._check_present(name, "inter", "TIME_FIELD")
        if name not in self.loaded("inter"):
            reason = "is not loaded" if name in self.types["inter"] else "does not exist"
            warnings.warn(
                f"the time column {name!r} of {self.names['inter']} {reason}, so events keep the "
                "order of the file: set TIME_FIELD (null if that order is meant)",
                stacklevel=2,
            )
            return None
        if self.types["inter"][name] != "float":
            raise DataError(
                f"column {name!r} of {self.names['inter']} is of type {self.types['inter'][name]!r}: "
                "the time must be of type 'float'"
            )
        return str(name)
