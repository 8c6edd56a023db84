"""The summary of a folder for some settings, found out once and kept for other processes and later runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_croloss.common.leftovers import discard
from lightning_croloss.common.locks import claimed
from lightning_croloss.configurable import class_path, to_config
from lightning_croloss.data.partitions.reader import PartitionReader
from lightning_croloss.data.partitions.scanning import Wanted, scan
from lightning_croloss.data.partitions.summary import Summary
from lightning_croloss.data.table.cache import FILES, WITHOUT_EFFECT, code_hash

#: Settings of features of items and users, which have no effect on the events.
_OF_FEATURES = ("item_features", "user_features", "items_id_column", "users_id_column", "multi_separator")
#: Seconds between two looks at whether another process has finished.
_PAUSE = 0.2
#: What names of folders end in that are there while the partitions are read.
_SCAN = ".scan"


def prepared(reader: PartitionReader, wanted: Wanted, folder: Path) -> Summary:
    """Return the summary, from the folder if it is there.

    Processes that need it at the same time wait for the one that is at work. Where the folder cannot be
    written each finds it out by itself; so it does for a split of the user's own, whose code may be another
    one tomorrow, with the same name and arguments.

    Args:
        reader: the partitions.
        wanted: what the summary depends on besides.
        folder: where summaries lie.

    Raises:
        DataError: the partitions cannot be used.
    """
    split = type(wanted.split)
    if not split.__module__.startswith("lightning_croloss."):
        rank_zero_info(
            f"the split {split.__name__} is your own code, which may change: what it makes of {reader.name} "
            "is not kept, and each process reads all partitions for itself"
        )
    elif (found := _shared(reader, wanted, folder)) is not None:
        return found
    with tempfile.TemporaryDirectory() as temporary:
        return scan(reader, wanted, Path(temporary))


def _shared(reader: PartitionReader, wanted: Wanted, folder: Path) -> Summary | None:
    """Return the summary from the folder, where one process puts it; None if it cannot be written."""
    path = folder / f"{_key(reader, wanted)}.summary"
    while True:
        if (found := _kept(path, reader)) is not None:
            return found
        try:
            with ExitStack() as claims:
                try:
                    claims.enter_context(claimed(path))
                except FileExistsError:
                    if not _may_wait(path):
                        raise
                else:
                    # another process may have finished just now
                    return _kept(path, reader) or _written(path, reader, wanted)
            time.sleep(_PAUSE)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error
            rank_zero_warn(f"{path} cannot be written ({why}): each process reads all partitions for itself")
            return None


def _written(path: Path, reader: PartitionReader, wanted: Wanted) -> Summary:
    """Find the summary out, and keep it."""
    for left in path.parent.glob(f".{path.stem}.*{_SCAN}"):  # by a process that was killed
        with suppress(OSError):  # another user's: it is in nobody's way
            discard(left)
    scratch = Path(tempfile.mkdtemp(_SCAN, f".{path.stem}.", path.parent))
    try:
        summary = scan(reader, wanted, scratch)
        summary.write(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return summary


def _kept(path: Path, reader: PartitionReader) -> Summary | None:
    manifest = reader.manifest
    try:
        return Summary.read(path, manifest.items.rows, manifest.users.rows)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        rank_zero_warn(f"{path} cannot be used, {why}: the partitions are read anew")
        with suppress(OSError):
            path.unlink()
        return None


def _may_wait(path: Path) -> bool:
    """Tell whether a process is at work that can be waited for: another user's lock may stay for ever."""
    mark = path.with_name(f".{path.name}.lock")
    return path.parent.is_dir() and (not os.path.lexists(mark) or os.access(mark, os.R_OK | os.W_OK))


def _key(reader: PartitionReader, wanted: Wanted) -> str:
    left_out = (*WITHOUT_EFFECT, *FILES, *_OF_FEATURES)
    settings = {name: to_config(value) for name, value in vars(reader.spec).items() if name not in left_out}
    key: dict[str, Any] = {
        "manifest": reader.manifest.checksum,
        "settings": settings,
        "split": [class_path(type(wanted.split)), to_config(wanted.split)],
        "targets": [wanted.target_window, wanted.targets_per_history],
        "code": [code_hash(), pl.__version__, np.__version__, torch.__version__],
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:40]
