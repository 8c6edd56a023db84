"""The data that a pretrained model was trained on, built again from its config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.data import RecBoleDataModule, RetrievalDataModule, TableDataModule
from lightning_croloss.data.recbole.settings import read_settings
from lightning_croloss.errors import DataError, PretrainedError
from lightning_croloss.pretrained.safe_config import trusted_classes

#: Arguments of data modules that are paths.
_PATHS = ("interactions", "items", "users")
_READ = (*_PATHS, "data_path", "config_files")
#: The argument that is a path to write to.
_CACHE = "cache_dir"


class AbsentDataError(PretrainedError):
    """The data of a model is not on this machine."""


def moved_paths(described: Mapping[str, Any], folder: str | Path | None) -> dict[str, str]:
    """Return the arguments of a data module that change if its files lie in ``folder``.

    Args:
        described: the section ``data`` of a config.
        folder: the folder that holds the files; None leaves all as it is.
    """
    if folder is None:
        return {}
    arguments = described.get("init_args") or {}
    moved = {
        name: str(expanded(folder) / Path(arguments[name]).name)
        for name in _PATHS
        if isinstance(arguments.get(name), str) and Path(arguments[name]).name != ".."
    }
    if isinstance(arguments.get("data_path"), str):
        moved["data_path"] = str(folder)
    return moved


def foreign_data_of(
    config: Mapping[str, Any], folder: str | Path | None = None, trusted: TrustedClasses | None = None
) -> RetrievalDataModule:
    """Build the data module of a config that a stranger may have written; see :func:`data_of`.

    Nothing is written where the config says, and nothing is read but what lies below the working directory,
    comes with RecBole, or lies in the given folder.

    Raises:
        AbsentDataError: the files are not there.
        PretrainedError: the config says nothing of the data, or names files elsewhere.
    """
    described = config.get("data")
    if not isinstance(described, dict) or not isinstance(described.get("init_args") or {}, dict):
        raise PretrainedError("config.yaml says nothing of the data: save it with the config of the run")
    arguments = {name: value for name, value in (described.get("init_args") or {}).items() if name != _CACHE}
    moved = moved_paths({"init_args": arguments}, folder)
    named = [value for name, value in arguments.items() if name in _READ and name not in moved]
    settings = arguments.get("config")
    if isinstance(settings, dict) and "data_path" not in moved:
        named.append(settings.get("data_path"))
    _check_below([*named, arguments.get("split")])  # a split may name files, too
    if "data_path" not in moved:
        _check_below(_paths_in_settings(arguments.get("config_files")))
    return data_of({**config, "data": {**described, "init_args": arguments}}, folder, trusted)


def _check_below(value: Any) -> None:
    for path in _texts(value):
        if not _is_below(path):
            raise PretrainedError(
                f"config.yaml names the file {path!r}, which is not below the working directory: name the "
                "folder that holds it with --data"
            )


def _paths_in_settings(files: Any) -> Any:
    """Return the ``data_path`` of RecBole's configuration files, which say where files lie, too."""
    try:
        return read_settings([*_texts(files)], {}).get("data_path")
    except ValueError as error:
        raise PretrainedError(f"config.yaml: {error}") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


def _is_below(path: str) -> bool:
    return not (Path(path).is_absolute() or path.startswith("~") or "://" in path or ".." in Path(path).parts)


def data_of(
    config: Mapping[str, Any], folder: str | Path | None = None, trusted: TrustedClasses | None = None
) -> RetrievalDataModule:
    """Build the data module of a config, and see that its files are there.

    Args:
        config: the sections of the config.
        folder: the folder that holds the files, instead of the one that the config names.
        trusted: the classes that the config may name.

    Raises:
        AbsentDataError: the files, or the package that brings them, are not there.
        PretrainedError: the config says nothing of the data.
    """
    described = config.get("data")
    if not isinstance(described, dict):
        raise PretrainedError("config.yaml says nothing of the data: save it with the config of the run")
    described = {
        **described,
        "init_args": {**(described.get("init_args") or {}), **moved_paths(described, folder)},
    }
    data = (trusted or trusted_classes()).build(described, "config.yaml")
    if not isinstance(data, RetrievalDataModule):
        raise PretrainedError(f"config.yaml: {described.get('class_path')!r} is not a RetrievalDataModule")
    if isinstance(data, RecBoleDataModule) and find_spec("recbole") is None:
        raise AbsentDataError("its data is read by RecBole, which is not installed (the extra [recbole])")
    if isinstance(data, RecBoleDataModule):
        try:
            data.check_files()
        except DataError as error:
            raise AbsentDataError(str(error)) from None
    if isinstance(data, TableDataModule):
        named = [given for given in data.files.values() if given is not None]
        files = [path for given in named for path in ([given] if isinstance(given, str) else given)]
        missing = [
            path for path in files if not any(sign in path for sign in "*?[") and not expanded(path).exists()
        ]
        if missing:
            raise AbsentDataError(f"there is no {missing[0]}: name the folder that holds it with --data")
    return data
