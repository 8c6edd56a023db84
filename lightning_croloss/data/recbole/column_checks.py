"""Whether RecBole's settings fit the columns of a dataset's files; needs no RecBole."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_croloss.data.recbole.columns import ALIASES, Columns
from lightning_croloss.data.recbole.kinds import INTERVALS
from lightning_croloss.errors import DataError, suggest


def check_columns(columns: Columns) -> None:
    """Refuse settings that name columns which are not there, not loaded or of another type.

    Raises:
        DataError: naming the column and the file.
        ValueError: if a setting needs a column that is not loaded, or settings contradict each other.
    """
    settings = columns.settings
    _check_ids(columns)
    _check_chosen(columns)
    for extension in columns.types:
        _check_loaded_ids(columns, extension)
    _check_named(columns, "seq_len", settings.get("seq_len") or {}, ("token_seq", "float_seq"), loaded=False)
    for key in ALIASES:
        _check_named(columns, key, settings.get(key) or [], ("token", "token_seq"))
    filtered = settings.get("val_interval") or {}
    _check_named(columns, "val_interval", filtered, ("token", "float"))
    for name, value in filtered.items():
        if columns.type_of(name) == "float":
            if not INTERVALS.fits(value):
                raise ValueError(f"val_interval[{name!r}]={value!r} must be {INTERVALS.wanted}")
        elif not isinstance(value, list) or not all(isinstance(token, str) for token in value):
            raise ValueError(
                f"val_interval[{name!r}]={value!r} must be a list of the tokens to keep, as text"
            )


def _check_ids(columns: Columns) -> None:
    """Refuse ids that the events do not have, and a column that would be one of users and of items."""
    spaces = []
    for field, alias in zip(("USER_ID_FIELD", "ITEM_ID_FIELD"), ALIASES, strict=True):
        columns.check_present(columns.settings[field], "inter", field)
        spaces.append([columns.settings[field], *(columns.settings.get(alias) or [])])
    for name in spaces[0]:
        if name in spaces[1]:
            raise ValueError(
                f"column {name!r} is named as one of users (USER_ID_FIELD, alias_of_user_id) and as one of "
                "items (ITEM_ID_FIELD, alias_of_item_id): take it out of one"
            )


def _check_chosen(columns: Columns) -> None:
    """Refuse columns to load or not to load that are not there, and both for one file."""
    load_col, unload_col = (columns.settings.get(key) or {} for key in ("load_col", "unload_col"))
    for key, chosen in (("load_col", load_col), ("unload_col", unload_col)):
        for extension, names in chosen.items():
            for name in names if extension in columns.types and names != "*" else ():
                columns.check_present(name, extension, f"{key}[{extension!r}]")
    for extension, names in unload_col.items():
        if names and load_col.get(extension, "*") not in ("*", []):
            raise ValueError(
                f"load_col and unload_col both name columns of {extension!r}: keep one of the two"
            )


def _check_loaded_ids(columns: Columns, extension: str) -> None:
    """Refuse a file without its ids, or with ids that are no tokens, unless nothing of it is loaded."""
    loaded = columns.loaded(extension)
    for name in columns.ids(extension) if extension == "inter" or loaded else ():
        if name not in loaded:
            key = "USER_ID_FIELD" if name == columns.settings["USER_ID_FIELD"] else "ITEM_ID_FIELD"
            columns.check_present(name, extension, key)
            raise ValueError(f"{key} names {name!r}, {columns.left_out(name, extension)}")
        if (kind := columns.types[extension][name]) != "token":
            raise DataError(
                f"column {name!r} of {columns.names[extension]} is of type {kind!r}: "
                "users and items must be of type 'token'"
            )


def _check_named(
    columns: Columns, key: str, names: Iterable[str], allowed: tuple[str, str], loaded: bool = True
) -> None:
    """Refuse columns named by a setting that are not there, not ``loaded`` or of another type."""
    everything = {name for types in columns.types.values() for name in types}
    for name in names:
        files = [extension for extension, types in columns.types.items() if name in types]
        if not files:
            there = ", ".join(columns.names.values())
            raise DataError(
                f"{key} names {name!r}, which is not a column of {there}{suggest(name, everything)}"
            )
        if loaded and not any(name in columns.loaded(extension) for extension in files):
            raise ValueError(f"{key} names {name!r}, {columns.left_out(name, files[0])}")
        if (kind := columns.type_of(name)) not in allowed:
            raise DataError(
                f"{key} names {name!r}, which is of type {kind!r}: it must be {' or '.join(allowed)}"
            )
