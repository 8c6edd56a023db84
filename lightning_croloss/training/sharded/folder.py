"""The folder that a checkpoint in shards is: rows of tables, and an ordinary file with all else."""

from __future__ import annotations

import os
import shutil
from os import PathLike
from pathlib import Path
from typing import Any

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.exchange import exchanged
from lightning_croloss.common.leftovers import NEW, OLD, temporary_name

#: The ordinary checkpoint without the rows of tables, and the folder that holds these, written by
#: ``torch.distributed.checkpoint``.
REST, ROWS = "checkpoint.ckpt", "rows"
#: Where the ordinary checkpoint says which of its tensors are in the other folder.
KEY = "croloss_sharded"
#: Version of what it says.
FORMAT_VERSION = 1


def local_path(path: str | PathLike[str]) -> Path:
    """Return the path that a text means, which may be an address of this machine, ``file://…``.

    A ``~`` at its beginning is the home folder.
    """
    return expanded(str(path).removeprefix("file://"))


def is_sharded_checkpoint(path: Any) -> bool:
    """Tell whether a path is the folder of a checkpoint in shards."""
    if not isinstance(path, (str, PathLike)):
        return False
    folder = local_path(path)
    # both: a folder in which a user keeps a file of that name is none, and never to be replaced or removed
    return "://" not in str(folder) and os.path.isfile(folder / REST) and os.path.isdir(folder / ROWS)


def rest_of(path: Any) -> Any:
    """Return the ordinary file of a checkpoint in shards; any other path as it is."""
    return local_path(path) / REST if is_sharded_checkpoint(path) else path


def refuse_other_folder(path: Path) -> None:
    """Refuse to put a checkpoint where a folder is that holds something else.

    Raises:
        FileExistsError: naming what it holds.
    """
    if path.is_symlink() or not path.is_dir():
        return
    held = set(os.listdir(path))
    if held and held != {REST, ROWS}:
        first = min(held - {REST, ROWS} or held)
        raise FileExistsError(
            f"{path} is a folder that holds {first!r}, which a checkpoint in its place would delete: give "
            "the checkpoint another name, or move the folder away"
        )


def put_in_place(new: Path, path: Path) -> None:
    """Put a file or a link where the folder of a checkpoint in shards is, in one step where the system can.

    Raises:
        FileExistsError: the folder holds something else besides.
    """
    refuse_other_folder(path)
    if not exchanged(new, path):
        old = temporary_name(path, OLD)
        os.replace(path, old)
        os.replace(new, path)
        new = old
    shutil.rmtree(new)


def remove_folder(path: Path) -> None:
    """Remove the folder of a checkpoint in shards, of which nobody ever finds a half.

    A link to it beside it takes its place where the system can swap the two.
    """
    if path.is_symlink():
        path.unlink()
        return
    for link in path.parent.iterdir():
        if link.is_symlink() and link.exists() and link.samefile(path) and exchanged(link, path):
            path.unlink()  # which is the link now
            return
    dead = temporary_name(path, NEW)
    os.replace(path, dead)
    shutil.rmtree(dead)
