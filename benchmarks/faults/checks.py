"""What must hold of the files of a job, whenever it was ended."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.faults.jobs import LAST
from croloss_serving.common.manifest import Format
from croloss_serving.errors import PretrainedError
from lightning_croloss.pretrained.registry import list_pretrained


def faults_of_run(folder: Path) -> list[str]:
    """Return what is wrong with the checkpoints, configs and results of a fit."""
    faults = []
    for path in folder.rglob("*"):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            _read(path)
        except Exception as error:
            faults.append(f"{path.name} cannot be read: {error}"[:150])
    faults += [f"{path.name} looks like a checkpoint" for path in folder.rglob(".*.ckpt")]
    return faults


def _read(path: Path) -> None:
    text = "" if path.suffix in (".ckpt", ".png") else path.read_text("utf-8")
    if path.suffix == ".ckpt":
        with zipfile.ZipFile(path) as archive:
            if (broken := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {broken} differs")
        torch.load(path, weights_only=True)
    elif path.suffix == ".json":
        json.loads(text)
    elif path.suffix == ".yaml":
        if not isinstance(yaml.safe_load(text), dict):
            raise ValueError("it is not a config")
    elif path.suffix == ".csv":
        head, *rows = csv.reader(text.splitlines())
        if not rows or not text.endswith("\n") or any(len(row) != len(head) for row in rows):
            raise ValueError("a part of a row")


def faults_of_folder(zoo: Path, kind: Format) -> list[str]:
    """Return what is wrong with a folder that is written again and again, and with what lies beside it."""
    faults = []
    folder = zoo / "set" / "model"
    try:
        kind.read(folder)
    except PretrainedError as error:
        faults.append(str(error))
    try:
        listed = [Path(name).relative_to(zoo).as_posix() for name in list_pretrained(zoo)]
    except (PretrainedError, OSError, ValueError) as error:
        return [*faults, f"the zoo cannot be listed: {error}"]
    return [*faults, *(f"{name} is listed as a model" for name in listed if name != "set/model")]


def leftovers(folder: Path) -> list[str]:
    """Return the hidden files and folders in a folder."""
    return [f"{path.name} was left" for path in folder.rglob(".*")]


def difference(folder: Path, whole: Path) -> list[str]:
    """Return in what the last checkpoint of a run differs from that of one that was not interrupted."""
    ours, theirs = (torch.load(run / LAST, weights_only=True) for run in (folder, whole))
    parts = ("state_dict", "optimizer_states", "epoch", "global_step")
    return [
        f"{part} is not that of the uninterrupted run"
        for part in parts
        if not _equal(ours[part], theirs[part])
    ]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
