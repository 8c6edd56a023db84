"""The columns of a RecBole dataset's atomic files; needs no RecBole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_croloss.data.recbole.settings import check_interval
from lightning_croloss.errors import DataError, suggest


class Columns:
    """The columns of a dataset's atomic files, and which of them are loaded.

    Args:
        folder: folder with the files.
        dataset: name of the dataset.
        settings: RecBole settings with their defaults.

    Raises:
        DataError: if a header is malformed.
    """

    def __init__(self, folder: Path, dataset: str, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.types: dict[str, dict[str, str]] = {}
        self.names: dict[str, str] = {}
        for extension in ("inter", "user", "item"):
            file = folder / f"{dataset}.{extension}"
            if file.is_file():
                self.names[extension] = file.name
                self.types[extension] = self._header(file)

    def _header(self, file: Path) -> dict[str, str]:
        with file.open(encoding=self.settings.get("encoding")) as lines:
            head = lines.readline().rstrip("\r\n")
        types = {}
        for field in head.split(self.settings["field_separator"]):
            name, separator, kind = field.partition(":")
            if not separator or ":" in kind:
                raise DataError(
                    f"the header of {file.name} has {field!r}: write name and type, such as user_id:token"
                )
            types[name] = kind
        return types

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
        for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
            name = self.settings[key]
            if name not in self.loaded("inter"):
                raise ValueError(f"load_col['inter'] must list {name!r}, which is the {key}")
            if self.types["inter"][name] != "token":
                raise DataError(
                    f"column {name!r} of {self.names['inter']} is of type {self.types['inter'][name]!r}: "
                    "users and items must be of type 'token'"
                )
        everything = [name for extension in self.types for name in self.types[extension]]
        loaded = {name: kinds[name] for end, kinds in self.types.items() for name in self.loaded(end)}
        filtered = dict(self.settings.get("val_interval") or {})
        aliases = [
            n for key in ("alias_of_user_id", "alias_of_item_id") for n in self.settings.get(key) or []
        ]
        for name in [*filtered, *aliases]:
            where = "val_interval" if name in filtered else "alias_of_user_id or alias_of_item_id"
            if name not in everything:
                files = ", ".join(self.names.values())
                raise DataError(
                    f"{where} names {name!r}, which is not a column of {files}{suggest(name, everything)}"
                )
            if name not in loaded:
                raise ValueError(f"{where} names {name!r}, which load_col does not load: add it to load_col")
        for name, value in filtered.items():
            if loaded[name].startswith("float"):
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
