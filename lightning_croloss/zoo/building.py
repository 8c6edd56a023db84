"""The whole recipe of a pretrained model: fit, choose, store, test, compare, write down."""

from __future__ import annotations

import platform
import shlex
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import lightning
import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only

import lightning_croloss
from lightning_croloss.common.files import write_atomically
from lightning_croloss.common.locks import claimed
from lightning_croloss.common.plain_yaml import OF_USERS, PlainYamlError, read_yaml
from lightning_croloss.common.replaceable import check_folder
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models import RetrievalModel
from lightning_croloss.pretrained.layout import CARD, FORMAT
from lightning_croloss.pretrained.saving import model_section, save_pretrained
from lightning_croloss.training.best_checkpoint import best_checkpoint, keeper_of_the_best
from lightning_croloss.training.run_folder import own_file
from lightning_croloss.zoo.cards import described, model_card
from lightning_croloss.zoo.datasets import dataset_of
from lightning_croloss.zoo.graphless import holds_graph, own_section, without_graph
from lightning_croloss.zoo.leaderboard import WRITTEN_BY, leaderboard
from lightning_croloss.zoo.measuring import measure
from lightning_croloss.zoo.sources import data_of, moved_paths
from lightning_croloss.zoo.storing import store


class FitRunner(Protocol):
    """Runs ``croloss fit``, which stands above this package and is handed down to it."""

    def __call__(self, arguments: Sequence[str]) -> tuple[Trainer, RetrievalModel]:
        """Run a fit with these arguments; return its trainer, and the model after the last step."""


def build(
    name: str,
    config: Path,
    zoo: Path,
    run_fit: FitRunner,
    *,
    data_folder: str | None = None,
    options: Sequence[str] = (),
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Train a model as ``croloss fit`` does and write it into the zoo.

    Args:
        name: ``<dataset>/<model>``.
        config: the config file.
        zoo: the folder of the zoo.
        run_fit: what runs ``croloss fit``.
        data_folder: the folder that holds the files of the data, instead of the one that the config names.
        options: further options of ``croloss fit``.
        dtype: how the weights are stored, if Recall stays: see :func:`lightning_croloss.zoo.storing.store`.
        overwrite: whether an earlier model may be replaced.

    Returns:
        The folder of the model.

    Raises:
        ValueError: the name is not of this form, there is no such config, or there are several processes.
        FileExistsError: the model exists or is being built by another job, or its folder or the zoo's card is
            of another kind.
        AbsentDataError: the data is not there.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:  # started by the first, for another device
        raise ValueError("croloss zoo build measures and writes in one process: add --trainer.devices=1")
    folder = zoo / name
    parts = Path(name).parts  # what begins with a dot is never listed
    if len(parts) != 2 or Path(name).is_absolute() or any(part.startswith(".") for part in parts):
        raise ValueError(f"name={name!r} must be <dataset>/<model>, such as ml-100k/mind")
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists: choose another name, or give --overwrite")
    check_folder(folder, FORMAT, overwrite)
    board = zoo / CARD
    if board.exists() and WRITTEN_BY not in board.read_text("utf-8", errors="replace"):
        raise FileExistsError(f"{board} was not written by croloss zoo build: choose another zoo with --zoo")
    written = _read(config)
    data_of(written, data_folder)  # refuses before the training what is not there
    moved = moved_paths(written["data"], data_folder)
    with claimed(folder):
        model, resolved, training = _fit(run_fit, config, moved, options)
        for field in moved:
            resolved["data"]["init_args"][field] = written["data"]["init_args"][field]
        monitored = training.pop("monitor").rpartition("@")[2]
        trained_as = None
        if holds_graph(model) and not dataset_of(name).may_hold_events:
            trained_as, model = described(own_section(model)), without_graph(model)
        data = data_of(resolved, data_folder)
        stored = store(model, data, dtype)  # what is measured is what is stored
        if stored.record and stored.record["kept"]:
            warnings.warn(f"{name}: {stored.record['kept']}", stacklevel=2)
        choose_by = int(monitored) if monitored.isdigit() else None
        metrics = measure(model, data, choose_by, stored.tested)
        metrics |= {
            "training": training,
            "weights": stored.dtype,
            **({"precision": stored.record} if stored.record else {}),
            **({"trained_as": trained_as} if trained_as else {}),
            "versions": _versions(),
            "command": _command(name, config, data_folder, options, dtype),
        }
        sections = {**resolved, "model": model_section(model)}
        card = model_card(name, metrics, sections, model.metadata.reading)
        save_pretrained(
            model,
            folder,
            config=resolved,
            metrics=metrics,
            card=card,
            titles=dataset_of(name).may_show_titles,
            dtype=stored.dtype,
            overwrite=overwrite,
        )
    write_leaderboard(zoo)
    return folder


def write_leaderboard(zoo: Path) -> None:
    """Write the leaderboard of a zoo again."""
    write_atomically(zoo / CARD, leaderboard(zoo).encode())


def _fit(
    run_fit: FitRunner, config: Path, moved: dict[str, str], options: Sequence[str]
) -> tuple[RetrievalModel, dict[str, Any], dict[str, Any]]:
    """Run ``croloss fit``; return the best model, the resolved config and what the training took."""
    paths = [f"--data.init_args.{field}={path}" for field, path in moved.items()]
    begin, begun = time.perf_counter(), time.process_time()
    trainer, model = run_fit(["--config", str(config), *paths, "--test_after_fit=false", *options])
    seconds, of_processor = time.perf_counter() - begin, time.process_time() - begun
    resolved = _read(own_file(trainer, "config.yaml"))  # which the fit has written
    resolved["test_after_fit"] = True
    best = best_checkpoint(trainer)
    epoch = trainer.current_epoch
    if best:
        content = torch.load(best, map_location="cpu", weights_only=True)
        model.load_state_dict(content["state_dict"])
        epoch = content["epoch"] + 1
    model.float()  # as it is read again, whatever it was trained in
    training = {
        "seconds": round(seconds, 1),
        "processor_seconds": round(of_processor, 1),
        "epochs": trainer.current_epoch,
        "best_epoch": epoch,
        "steps": trainer.global_step,
        "threads": torch.get_num_threads(),
        "monitor": str(getattr(keeper_of_the_best(trainer), "monitor", None) or ""),
    }
    return model, resolved, training


def _read(config: Path) -> dict[str, Any]:
    if not config.is_file():
        raise ValueError(f"there is no config {str(config)!r}")
    try:
        content = read_yaml(config, OF_USERS)
    except PlainYamlError as error:
        raise PretrainedError(f"{config} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise PretrainedError(f"{config} is not a config with the sections data and model")
    return content


def _command(name: str, config: Path, data_folder: str | None, options: Sequence[str], dtype: str) -> str:
    words = ["croloss", "zoo", "build", "--config", config.as_posix(), "--name", name]
    if data_folder is not None:
        words += ["--data", "FOLDER"]
    if dtype != "float32":
        words += ["--weights", dtype]
    return shlex.join([*words, *options])


def _versions() -> dict[str, str]:
    return {
        "lightning-croloss": lightning_croloss.__version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "numpy": np.__version__,
        "Python": platform.python_version(),
    }
