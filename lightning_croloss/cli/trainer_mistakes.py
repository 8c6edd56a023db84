"""Mistakes in the section ``trainer``: what Lightning refuses, with the field's name before it."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import StrategyRegistry

from lightning_croloss.cli.launch import refuse_half_launched
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.errors import suggest
from lightning_croloss.training.sharded.strategy import NAME

#: Packages whose own errors tell the user what to do: those that loggers need.
_TRACKERS = ("wandb", "mlflow", "comet_ml")
_FIELDS = frozenset(inspect.signature(Trainer).parameters)
#: Other words by which Lightning's errors call a field.
_CALLED = {
    "has no logger": "logger",
    "logger=false": "logger",
    "deepspeed": "strategy",
    "valid duration": "max_time",
}
_KINDS = (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException)
#: What people call accelerators, and how one knows that they are there.
_GPU = ("gpu", "cuda", "mps")


def check_trainer_section(section: Mapping[str, Any]) -> None:
    """Refuse a strategy, accelerator, device or other process that is not there, before data is loaded.

    Args:
        section: the fields of the trainer, as parsed.

    Raises:
        MisconfigurationException: naming the field.
    """
    refuse_half_launched(section)
    strategy, accelerator = section.get("strategy", "auto"), section.get("accelerator", "auto")
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    if isinstance(strategy, str) and strategy not in strategies:
        usual = [name for name in strategies if name.isalpha() or name == NAME]
        raise MisconfigurationException(
            f"trainer.strategy: there is no strategy {strategy!r}{suggest(strategy.lower(), usual)}"
        )
    if isinstance(accelerator, str):
        _check_accelerator(accelerator)
        if accelerator == "cpu" or (accelerator == "auto" and not any(map(_is_available, _GPU))):
            _check_processes(section.get("devices", "auto"))


def check_share_of_test(trainer: Trainer, data: RetrievalDataModule) -> None:
    """Refuse, before a fit, a share of the test's batches that is less than one of them.

    Args:
        trainer: of the fit.
        data: what it trains on.

    Raises:
        MisconfigurationException: the test that ends the fit would be refused.
    """
    share: float = trainer.limit_test_batches  # type: ignore[attr-defined]
    if not (isinstance(share, float) and 0.0 < share < 1.0):
        return
    if type(data).test_dataloader is not RetrievalDataModule.test_dataloader:
        return  # of the user's own, whose batches are not known here
    if data.partitions is not None and trainer.world_size > 1:
        return  # whose batches are as many as the largest share of a process has
    rows = len(data.measured_rows("test"))
    batches = -(-rows // (data.eval_batch_size * trainer.world_size))
    if int(batches * share) == 0:
        raise MisconfigurationException(
            f"trainer.limit_test_batches: {share:g} of the {batches} batches of the test is less than one: "
            f"give at least {1 / batches:.3g}, or a whole number of batches"
        )


def _check_accelerator(name: str) -> None:
    known = ["auto", "gpu", *AcceleratorRegistry.available_accelerators()]
    if name not in known:
        raise MisconfigurationException(
            f"trainer.accelerator: there is no accelerator {name!r}{suggest(name.lower(), known)}"
        )
    if name == "gpu":
        available = any(map(_is_available, ("cuda", "mps")))
    else:
        available = name == "auto" or _is_available(name)
    if not available:
        found = [other for other in known if other not in ("auto", "gpu") and _is_available(other)]
        called = "GPU" if name in _GPU else name.upper()
        raise MisconfigurationException(
            f"trainer.accelerator: {name!r} was given, but no {called} is there that torch "
            f"{torch.__version__} can use: only {' and '.join(found)}; "
            "leave accelerator out, which takes the best there is"
        )


def _is_available(name: str) -> bool:
    entry = dict.get(AcceleratorRegistry, name)  # its own ``get`` builds one
    return entry is not None and bool(entry["accelerator"].is_available())


def _check_processes(devices: Any) -> None:
    """Refuse what is no number of processes on a CPU, which has no devices to count or choose from."""
    text = str(devices)
    if text != "auto" and not (text.isdigit() and int(text) > 0):
        raise MisconfigurationException(
            f"trainer.devices: on a CPU it is the number of processes, 1 or more, got {devices!r}"
        )


@contextmanager
def construction() -> Iterator[None]:
    """Tell what goes wrong while the trainer is built as the user's mistake, which it is."""
    try:
        yield
    except _KINDS as error:
        text = named(error)
        raise MisconfigurationException(
            text if text.startswith(("trainer", "the package")) else f"trainer: {text}"
        ) from error


@contextmanager
def training(trainer: Trainer) -> Iterator[None]:
    """Name the field that the user gave where Lightning names one that it has set by that."""
    try:
        yield
    except MisconfigurationException as error:
        if not trainer.overfit_batches:  # type: ignore[attr-defined]
            raise
        text = re.sub(r"limit_(train|val|test)_batches", "overfit_batches", str(error))
        raise MisconfigurationException(named(MisconfigurationException(text))) from error


def raised_by_trainer(error: BaseException) -> bool:
    """Tell what Lightning, or a package that one of its loggers needs, refuses on purpose."""
    if _package(error) in _TRACKERS:
        return True
    if not isinstance(error, _KINDS):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not Path(frames[-1].filename).is_relative_to(Path(lightning.__file__).parent):
        return False
    # a statement that raises, and not one that fails
    return isinstance(error, ImportError) or (frames[-1].line or "").startswith("raise ")


def _package(error: BaseException) -> str:
    return type(error).__module__.split(".")[0]


def named(error: BaseException) -> str:
    """Return the message of an error of the trainer, with the field before it if it names one."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"<(?:\w+\.)*(\w+) object at 0x[0-9a-f]+>", r"\1", text)
    if found := re.match(r"Requirement '([^']+)' not met", text):
        return f"the package {found[1]} is not installed, which the trainer needs: pip install '{found[1]}'"
    if text.startswith("trainer"):
        return text
    if _package(error) in _TRACKERS:
        return f"trainer.logger: {text}"
    words = re.findall(r"(?<![\w.])([a-z_]{4,})(?![\w.])", text)
    called = [field for phrase, field in _CALLED.items() if phrase in text.lower()]
    field = next(
        (word for word in [*called, *words] if word in _FIELDS and f"{word} metric" not in text), None
    )
    # an argument of a callback is no field of the trainer
    if field is None or (
        field not in called and re.search(r"`\w+(Checkpoint|Stopping|Monitor|Finder)\b", text)
    ):
        speaker = _speaker(error)
        return f"{speaker}: {text}" if speaker and speaker not in text else text
    return f"trainer.{field}: {text}"


def _speaker(error: BaseException) -> str:
    """Return the class of the callback or logger that raised an error, "" if it was none."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    speaker = None if trace is None else trace.tb_frame.f_locals.get("self")
    return type(speaker).__name__ if isinstance(speaker, (Callback, Logger)) else ""
