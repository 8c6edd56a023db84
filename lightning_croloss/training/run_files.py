"""Which of the paths that a checkpoint names are files of its own run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning_croloss.training.sharded.folder import is_sharded_checkpoint


def run_file(path: object, beside: str, own: str | None, extension: str) -> str:
    """Return where a checkpoint of a run lies; "" if there is none in the folders of the run.

    A path that comes out of a file may be a stranger's: what it names is read, replaced and deleted later. So
    it counts only within the folders, whatever it leads through: ``..``, ``~``, symbolic links, addresses.

    Args:
        path: what the file holds, of whatever type.
        beside: the folder of the checkpoint that is resumed, or its address; from the user.
        own: the folder or the address that the resumed run writes to.
        extension: that of checkpoints: nothing else in these folders is touched.

    Returns:
        The file at this path, or beside the resumed one if the run has moved. It is spelt as the folder that
        holds it is: ``ModelCheckpoint`` compares the text.
    """
    if not isinstance(path, str) or "\0" in path or not path.endswith(extension):
        return ""
    folders = [folder for folder in (own, beside) if folder is not None]
    if "://" in path:
        return next((path for folder in folders if _is_in_address(path, folder)), "")
    local = [folder for folder in folders if "://" not in folder]
    moved = () if "://" in beside else (os.path.join(beside, Path(path).name),)
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


def _is_in_address(path: str, folder: str) -> bool:
    inside, _, name = path.rpartition("/")
    return "://" in folder and inside == folder.rstrip("/") and "::" not in path and name.strip(".") != ""
