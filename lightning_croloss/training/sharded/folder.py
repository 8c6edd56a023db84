"""The folder that a checkpoint in shards is: rows of tables, and an ordinary file with all else."""

from __future__ import annotations

import os
import shutil
from os import PathLike
from pathlib import Path
from typing import Any

from lightning_croloss.common.exchange import exchanged
from lightning_croloss.common.leftovers import NEW, OLD, temporary_name

#: The ordinary checkpoint without the rows of tables, and the folder that holds these, written by
#: ``torch.distributed.checkpoint``.
REST, ROWS = "checkpoint.ckpt", "rows"
#: Where the ordinary checkpoint says which of its tensors are in the other folder.
KEY = "croloss_sharded"
#: Version of what it says.
FORMAT_VERSION = 1


def is_sharded_checkpoint(path: Any) -> bool:
    """Tell whether a path is the folder of a checkpoint in shards."""
    if not isinstance(path, (str, PathLike)) or "://" in str(path):
        return False
    return (Path(path) / REST).is_file()


def rest_of(path: Any) -> Any:
    """Return the ordinary file of a checkpoint in shards; any other path as it is."""
    return Path(path) / REST if is_sharded_checkpoint(path) else path


def put_in_place(new: Path, path: Path) -> None:
    """Put a file where the folder of a checkpoint in shards is, in one step where the system can."""
    if exchanged(new, path):
        shutil.rmtree(new)
        return
    old = temporary_name(path, OLD)
    os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old)


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
