"""Which file ``--ckpt_path`` means."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from croloss_serving.common.home_folder import expanded
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint, rest_of


def find_checkpoint(given: str, trainer: Mapping[str, Any]) -> str:
    """Return the file that ``--ckpt_path`` names; what cannot be found is refused, not passed over.

    Args:
        given: a file, an address that fsspec knows, ``registry:…``, ``hpc`` (the newest one that a cluster
            made the trainer save) or ``last`` (the newest ``last*.ckpt`` of earlier runs).
        trainer: the section ``trainer`` of the config, which says where those lie.

    Raises:
        ValueError: there is no such checkpoint.
    """
    if not given:
        raise ValueError("ckpt_path is empty: give the file, or leave it out")
    given = os.path.expanduser(given)  # which may be an address, and no path
    if given == "best":
        raise ValueError(f"ckpt_path: {given!r} is known only within a run: give the file")
    if given == "last":
        return _newest(given, list(_last_ones(trainer)), "no earlier run has kept a last.ckpt")
    if given == "hpc":
        folder = expanded(trainer.get("default_root_dir") or ".")
        return _newest(
            given, list(folder.glob("hpc_ckpt_*.ckpt")), f"there is no hpc_ckpt_*.ckpt in {folder}"
        )
    if is_registry(given):
        if find_spec("litmodels") is None:
            raise ValueError(f"ckpt_path: {given!r} needs the package litmodels: install it, or give a file")
    elif Path(given).is_dir() and not is_sharded_checkpoint(given):
        raise ValueError(
            f"ckpt_path: {given!r} is a folder, and not one that croloss_sharded wrote as a checkpoint: give "
            "the .ckpt of a run"
        )
    elif "://" not in given and not Path(rest_of(given)).is_file():
        raise ValueError(f"ckpt_path: there is no file {given!r}")
    return given


def is_registry(path: str) -> bool:
    """Tell whether a path is one of Lightning's model registry."""
    return path.lower() == "registry" or path.lower().startswith("registry:")


def _newest(given: str, files: list[Path], absent: str) -> str:
    if not files:
        raise ValueError(f"ckpt_path: there is no {given!r} checkpoint, as {absent}: give the file")
    return str(max(files, key=lambda path: path.stat().st_mtime_ns))


def _last_ones(trainer: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the last checkpoints in the folders in which the trainer of this config keeps them."""
    callbacks = trainer.get("callbacks") or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        arguments = callback.get("init_args") or {}
        folder, kind = arguments.get("dirpath"), str(callback.get("class_path")).rpartition(".")[2]
        if folder and kind == "OnExceptionCheckpoint":
            yield from expanded(folder).glob(f"{arguments.get('filename') or 'on_exception'}.ckpt")
        elif folder:
            yield from expanded(folder).glob("last*.ckpt")
    root = expanded(trainer.get("default_root_dir") or ".")
    loggers = trainer.get("logger")
    if loggers is False or loggers == []:
        yield from (root / "checkpoints").glob("last*.ckpt")
        return
    first = loggers[0] if isinstance(loggers, list) else loggers
    arguments = (first.get("init_args") or {}) if isinstance(first, Mapping) else {}
    folder = expanded(arguments.get("save_dir") or root)
    name = _folder_name(str(first.get("class_path")) if isinstance(first, Mapping) else "", arguments)
    yield from (folder / name).glob("*/checkpoints/last*.ckpt")


def _folder_name(logger: str, arguments: Mapping[str, Any]) -> str:
    """Return the folder of a logger's runs; W&B calls it by the project, and only the run by the name."""
    name, project = arguments.get("name"), arguments.get("project")
    if logger.rpartition(".")[2] == "WandbLogger":
        name, project = project, os.environ.get("WANDB_PROJECT")
    return str(next((each for each in (name, project) if each is not None), "lightning_logs"))
