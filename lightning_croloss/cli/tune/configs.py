"""The configs of a search: of each setting, which fits as it is, and of its run within the search."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_croloss.cli.tune.base import Config, overlaid
from lightning_croloss.models.cutoffs import DEFAULT, below
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import MEAN, Objective
from lightning_croloss.tuning.space import Choices, Dimension, Range

#: Logs a mean over several N, for the checkpoints.
LOGGER = "lightning_croloss.tuning.ObjectiveLogger"
CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"
CSV_LOGGER = "lightning.pytorch.loggers.CSVLogger"
#: What a callback monitors that follows the metric of the validation.
_MEASURED = re.compile(r"val/.+@\d+")


def candidate_config(base: Config, candidate: Candidate, ns: Sequence[int], num_items: int) -> Config:
    """Return the config of a setting, whatever it is judged by.

    Args:
        base: the config of a fit.
        candidate: the loss and the fields to set.
        ns: the N that will be deployed, which the model then measures too.
        num_items: size of the catalogue.

    Raises:
        ValueError: a field does not exist or does not take its value, or N is not below the catalogue's size.
    """
    if max(ns) >= num_items:
        raise ValueError(
            f"--n {max(ns)}: the catalogue has only {num_items} items, so that every Recall@{max(ns)} would "
            "be 1"
        )
    config = copy.deepcopy(base)
    if candidate.fields:
        config = overlaid(config, candidate.fields)
    arguments = _arguments(config["model"])
    if candidate.loss is not None:
        arguments["loss"] = _plain(candidate.loss)
        # it schedules the loss of the base, whose hyperparameters another one may not have
        _keep_callbacks(config, lambda entry: _class(entry) != "CROLossCallback")
    measured = arguments.get("ns") or DEFAULT
    known = below(measured, num_items) if tuple(measured) == DEFAULT else measured
    if not set(ns) <= set(known) or tuple(measured) != DEFAULT:
        arguments["ns"] = sorted({*known, *ns})
    return config


def judged_by(config: Config, objectives: Sequence[Objective]) -> Config:
    """Return a config that keeps the checkpoint of the epoch that is best by each objective.

    Early stopping by what the validation measures goes by the objective too; with several, whose best epochs
    lie apart, there is none.

    Args:
        config: of a fit.
        objectives: what is looked for.
    """
    config = copy.deepcopy(config)
    callbacks = _callbacks(config)
    if len(objectives) > 1:
        callbacks = [entry for entry in callbacks if _class(entry) != "EarlyStopping" or not _follows(entry)]
    for entry in callbacks:
        if _follows(entry):
            entry["init_args"] |= {"monitor": objectives[0].monitor, "mode": "max"}
    first = next((entry for entry in callbacks if _class(entry) == "ModelCheckpoint"), None)
    if first is None or not _follows(first):  # the best checkpoint of the first one is tested
        kept = {"monitor": objectives[0].monitor, "mode": "max", "filename": "best"}
        first = {"class_path": CHECKPOINT, "init_args": kept | {"auto_insert_metric_name": False}}
        callbacks.insert(0, first)
    for objective in objectives[1:]:
        arguments = first["init_args"] | {"monitor": objective.monitor, "filename": f"best_{objective.label}"}
        arguments |= {"save_last": None, "auto_insert_metric_name": False}
        callbacks.append({"class_path": first["class_path"], "init_args": arguments})
    for objective in objectives:
        if objective.monitor == MEAN:  # before those that go by it
            arguments = {"weights": dict(objective.weights), "metric": objective.metric}
            callbacks.insert(0, {"class_path": LOGGER, "init_args": arguments})
    config["trainer"]["callbacks"] = callbacks
    return config


def run_config(config: Config, folder: Path, name: str, group: str, gpus: bool = False) -> Config:
    """Return the config of a run within the search, which writes to a folder of its own and is not watched.

    Args:
        config: of a fit.
        folder: the run's folder.
        name: what trackers call the run.
        group: what they call the search.
        gpus: whether there are several GPUs, of which a run takes one.
    """
    config = copy.deepcopy(config)
    trainer = config["trainer"]
    trainer |= {"default_root_dir": str(folder), "enable_progress_bar": False, "enable_model_summary": False}
    if gpus and trainer.get("devices", "auto") == "auto":
        trainer["devices"] = 1
    loggers = trainer.get("logger", True)
    if loggers is True or loggers is None:
        loggers = {"class_path": CSV_LOGGER}
    if isinstance(loggers, list):
        trainer["logger"] = [_own_logger(entry, folder, name, group) for entry in loggers]
    elif loggers:
        trainer["logger"] = _own_logger(loggers, folder, name, group)
    for entry in _callbacks(config):
        if _class(entry) == "ModelCheckpoint":
            entry.setdefault("init_args", {})["dirpath"] = str(folder / "checkpoints")
    return config


def unwatched(config: Config, folder: Path) -> Config:
    """Return the config of a run of which trackers hear nothing.

    It has a logger where it had one, which some callbacks ask for: a file in the run's folder.

    Args:
        config: of a run.
        folder: the run's folder.
    """
    config = copy.deepcopy(config)
    if config["trainer"].get("logger"):
        config["trainer"]["logger"] = {
            "class_path": CSV_LOGGER,
            "init_args": {"save_dir": str(folder), "name": "logs"},
        }
    return config


def settings(candidate: Candidate) -> dict[str, Any]:
    """Return what a candidate sets, flat: ``{"loss": "CROLoss", "temperature": 0.1, …}``."""
    found: dict[str, Any] = {}
    loss = candidate.loss
    if loss is None:
        found["loss"] = "the config's own"
    else:
        found["loss"] = _class(loss)
        for name, value in (loss.get("init_args") or {}).items():
            found.update(_flat(name, value))
    for name, value in candidate.fields.items():
        found.update(_flat(name.replace(".init_args", ""), value))
    return found


def parameters(space: Mapping[str, Dimension]) -> dict[str, Dimension]:
    """Return from what those of :func:`settings` are drawn that are fields of a space."""
    found: dict[str, Dimension] = {}
    for name, dimension in space.items():
        plain = name.replace(".init_args", "")
        if isinstance(dimension, Range):
            found[plain] = dimension
            continue
        values: dict[str, list[Any]] = {}
        for value in dimension.values:
            for inner, entry in _flat(plain, value).items():
                values.setdefault(inner, []).append(entry)
        found |= {inner: Choices(tuple(entries)) for inner, entries in values.items()}
    return found


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and "class_path" in value:
        flat: dict[str, Any] = {name: _class(value)}
        for inner, entry in (value.get("init_args") or {}).items():
            flat.update(_flat(f"{name}.{inner}", entry))
        return flat
    return {name: value if isinstance(value, (bool, int, float, str)) or value is None else str(value)}


def _callbacks(config: Config) -> list[Config]:
    """Return the callbacks of a config, which may write one alone, or a class by its name alone."""
    trainer = config.setdefault("trainer", {})
    given = trainer.get("callbacks") or []
    entries = given if isinstance(given, list) else [given]
    found = [{"class_path": entry} if isinstance(entry, str) else entry for entry in entries]
    trainer["callbacks"] = found
    return found


def _keep_callbacks(config: Config, wanted: Any) -> None:
    kept = [entry for entry in _callbacks(config) if wanted(entry)]
    if kept:
        config["trainer"]["callbacks"] = kept
    else:
        del config["trainer"]["callbacks"]


def _follows(entry: Config) -> bool:
    monitor = (entry.get("init_args") or {}).get("monitor")
    known = _class(entry) in ("ModelCheckpoint", "EarlyStopping")
    return known and isinstance(monitor, str) and _MEASURED.fullmatch(monitor) is not None


def _own_logger(entry: Any, folder: Path, name: str, group: str) -> Any:
    logger: Config = {"class_path": entry} if isinstance(entry, str) else copy.deepcopy(entry)
    arguments = logger.setdefault("init_args", {})
    kind = _class(logger)
    if kind in ("CSVLogger", "TensorBoardLogger"):
        arguments.pop("version", None)
        arguments |= {"save_dir": str(folder), "name": "logs"}
    elif kind == "WandbLogger":
        # of the run's own, so that the rungs of a setting are one run
        identity = hashlib.blake2b(f"{folder.resolve()}".encode(), digest_size=6).hexdigest()
        arguments |= {"save_dir": str(folder), "name": name, "id": identity}
        arguments.pop("version", None)
        more = {"group": group, "resume": "allow"}
        logger["dict_kwargs"] = (logger.get("dict_kwargs") or {}) | more
    return logger


def _arguments(described: Config) -> Config:
    arguments: Config = described.setdefault("init_args", {})
    return arguments


def _class(described: Any) -> str:
    path = described if isinstance(described, str) else described["class_path"]
    return str(path).rpartition(".")[2]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


__all__ = ["candidate_config", "judged_by", "parameters", "run_config", "settings", "unwatched"]
