"""Which of the paths that a checkpoint names are files of its own run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.training.sharded.folder import is_sharded_checkpoint

#: A field of a file name, ``{epoch:02d}``, and what stands in its place.
_FIELD = re.compile(r"\{([^:}]*)[^}]*\}")
_VALUE = r"(?: *[-+]?\d[\d.,_]*(?:[eE][-+]?\d+)?%?|-?inf|nan)"


def folder_of_run(path: str, callbacks: Iterable[Callback]) -> str:
    """Return the folder, or the address, in which a run keeps the checkpoints of which one is given.

    It is the one that holds the file, unless the file name of a ``ModelCheckpoint`` has a ``/``, as
    ``{val/recall@20}`` has: then the one above those that this name makes. What the checkpoint itself says of
    its folder is not asked.

    Args:
        path: the checkpoint, as the user has named it.
        callbacks: those of the run that goes on with it.
    """
    whole = path if "://" in path else os.path.abspath(path)
    if name := name_in_run(whole, callbacks):
        return (path if path.endswith(f"/{name}") else whole).removesuffix(f"/{name}") or "/"
    return path.rpartition("/")[0] if "://" in path else str(Path(path).parent)


def name_in_run(path: str, callbacks: Iterable[Callback]) -> str:
    """Return the end of a path that is a checkpoint's name with folders in it, "" if there is none."""
    for callback in callbacks:
        if not isinstance(callback, ModelCheckpoint) or "/" not in (callback.filename or ""):
            continue
        found = re.search(rf"(?<=/){_pattern(callback)}\Z", path)
        if found is not None and "/" in found[0]:
            return found[0]
    return ""


def run_file(
    path: object, beside: str, own: str | None, extension: str, callbacks: Iterable[Callback] = ()
) -> str:
    """Return where a checkpoint of a run lies; "" if there is none in the folders of the run.

    A path that comes out of a file may be a stranger's: what it names is read, replaced and deleted later. So
    it counts only within the folders, whatever it leads through: ``..``, ``~``, symbolic links, addresses.

    Args:
        path: what the file holds, of whatever type.
        beside: the folder of the checkpoint that is resumed, or its address; from the user.
        own: the folder or the address that the resumed run writes to.
        extension: that of checkpoints: nothing else in these folders is touched.
        callbacks: those of the resumed run, whose file names may make folders in these.

    Returns:
        The file at this path, or beside the resumed one if the run has moved. It is spelt as the folder that
        holds it is: ``ModelCheckpoint`` compares the text.
    """
    if not isinstance(path, str) or "\0" in path or not path.endswith(extension):
        return ""
    folders = [folder for folder in (own, beside) if folder is not None]
    if "://" in path:
        return next((path for folder in folders if _is_in_address(path, folder, callbacks)), "")
    local = [folder for folder in folders if "://" not in folder]
    names = [name for name in (name_in_run(path, callbacks), Path(path).name) if name]
    moved = () if "://" in beside else [os.path.join(beside, name) for name in names]
    try:
        found = (_within(candidate, folder) for candidate in (path, *moved) for folder in local)
        return next(filter(None, found), "")
    except OSError:  # a name that no file system takes, a loop of links
        return ""


def without_paths(value: Any) -> Any:
    """Return what a checkpoint holds with every text left empty that could be a path outside of its run."""
    if isinstance(value, str):
        parts = value.replace("\\", "/").split("/")
        leads_out = (
            parts[0] == ""
            or ".." in parts
            or value.startswith("~")
            or (":" in parts[0] and " " not in parts[0])
        )
        return "" if (leads_out and value) or "\0" in value else value
    if isinstance(value, dict):
        return {without_paths(name): without_paths(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(without_paths(entry) for entry in value)
    return value


def _within(path: str, folder: str) -> str:
    """Return a file, spelt as the folder that holds it is; "" if it lies elsewhere or is not a file."""
    candidate, root = Path(path), Path(folder).resolve()
    parent = candidate.parent.resolve()  # a link to another file of the folder stays what it is
    if not (candidate.is_file() or is_sharded_checkpoint(candidate)) or not parent.is_relative_to(root):
        return ""
    if not candidate.resolve().is_relative_to(root):
        return ""
    return os.path.join(folder, (parent / candidate.name).relative_to(root))


def _is_in_address(path: str, folder: str, callbacks: Iterable[Callback]) -> bool:
    inside, _, name = path.rpartition("/")
    if with_folders := name_in_run(path, callbacks):
        inside = path.removesuffix(f"/{with_folders}")
    return "://" in folder and inside == folder.rstrip("/") and "::" not in path and name.strip(".") != ""


def _pattern(callback: ModelCheckpoint) -> str:
    """Return a regular expression of the names that a callback gives its checkpoints."""
    template, pattern, end = callback.filename or "", "", 0
    for field in _FIELD.finditer(template):
        inserted = f"{field[1]}{callback.CHECKPOINT_EQUALS_CHAR}" if callback.auto_insert_metric_name else ""
        pattern += re.escape(template[end : field.start()] + inserted) + _VALUE
        end = field.end()
    pattern += re.escape(template[end:])
    version = f"(?:{re.escape(callback.CHECKPOINT_JOIN_CHAR)}v[0-9]+)?"
    return f"{pattern}{version}{re.escape(callback.FILE_EXTENSION)}"
