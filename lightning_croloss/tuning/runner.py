"""Runs the jobs of a search in this process: each builds its candidate anew and trains one segment."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.errors import NonFiniteLossError, PretrainedError
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.training.resume import batches_so_far
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import MEAN, Objective
from lightning_croloss.tuning.objective_logger import ObjectiveLogger
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.records import Records
from lightning_croloss.tuning.search import Job
from lightning_croloss.tuning.segment import Data, train_segment

#: What makes a candidate fail, and not the search: settings that nothing can be trained with.
FAILURES = (NonFiniteLossError, PretrainedError, ValueError, ArithmeticError, torch.OutOfMemoryError)
#: What a search sets of a trainer unless the user does.
DEFAULTS: Mapping[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "devices": 1,
}

TrainerArguments = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
ModelFactory = Callable[..., LightningModule]


class Runner:
    """Builds what a job needs, and trains it.

    Args:
        model_factory: builds a module from a loss, and the fields of the candidate if it has any.
        data: what ``trainer.fit`` is given, or what makes it.
        trainer: arguments of ``Trainer``, or what makes them from the folder of the candidate.
        objectives: what is looked for; the best checkpoint of each is kept.
        seed: of every fit.
    """

    def __init__(
        self,
        model_factory: ModelFactory,
        data: Data | Callable[[], Data],
        trainer: TrainerArguments,
        objectives: Sequence[Objective],
        seed: int,
    ) -> None:
        self._factory = model_factory
        self._data = data
        self._trainer = trainer
        self.objectives = objectives
        self.seed = seed

    def execute(self, records: Records, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Run jobs one after the other."""
        for job in jobs:
            yield job, self.run(records, job)

    def run(self, records: Records, job: Job) -> Outcome:
        """Train a candidate up to its rung; settings that cannot be trained make an outcome with an error."""
        resume, before = records.start_of(job)
        trainer: Trainer | None = None
        with seeded(self.seed), quiet():
            try:
                module = self.module(job.candidate)
                trainer = self.trainer(records.candidate_folder(job.number))
                step = None if job.last else job.step
                save = records.state(job.number, job.step)
                return train_segment(
                    trainer, module, self.data(), step=step, save=save, resume=resume, before=before
                )
            except FAILURES as error:
                kept = before or Outcome(0)
                reached = kept.step if trainer is None else max(kept.step, batches_so_far(trainer))
                told = " ".join(str(error).split()) or type(error).__name__
                return Outcome(reached, kept.validations, False, told, kept.seconds)

    def loss(self, candidate: Candidate) -> RetrievalLoss:
        """Build the loss of a candidate.

        Raises:
            PretrainedError: its class is unknown, or does not take the arguments.
            ValueError: the candidate has none.
        """
        if candidate.loss is None:
            raise ValueError(f"candidate {candidate.name!r} has no loss, which model_factory needs")
        where = f"candidate {candidate.name!r}"
        loss = TrustedClasses(imported=True).build(copy.deepcopy(dict(candidate.loss)), where)
        if not isinstance(loss, RetrievalLoss):
            raise ValueError(f"{where}: {type(loss).__name__} is not a RetrievalLoss")
        return loss

    def module(self, candidate: Candidate) -> LightningModule:
        """Build the module of a candidate."""
        return self._factory(self.loss(candidate), **candidate.fields)

    def data(self) -> Data:
        """Return the data, made anew if that is how it was given."""
        made = self._data
        if not isinstance(made, (LightningDataModule, tuple)):
            made = made()
        return made

    def arguments(self, folder: Path) -> dict[str, Any]:
        """Return the arguments of the trainer of a candidate that keeps its files in a folder."""
        given = self._trainer(folder) if callable(self._trainer) else copy.deepcopy(dict(self._trainer))
        arguments = {**DEFAULTS, "default_root_dir": folder, **given}
        callbacks = arguments.get("callbacks") or []
        own = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
        kept = [_best(objective, folder) for objective in self.objectives]
        means = [
            ObjectiveLogger(each.weights, each.metric) for each in self.objectives if each.monitor == MEAN
        ]
        return {**arguments, "callbacks": [*means, *own, *kept], "enable_checkpointing": True}

    def trainer(self, folder: Path) -> Trainer:
        """Build the trainer of a candidate that keeps its files in a folder."""
        return Trainer(**self.arguments(folder))


def best_checkpoint(folder: Path, objective: Objective) -> Path:
    """Return where the best checkpoint of a candidate is kept."""
    return folder / f"best_{objective.label}.ckpt"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed everything in the block as a user would before a fit, and leave the caller's state as it was."""
    names = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    before = {name: os.environ.get(name) for name in names}
    try:
        with isolate_rng():
            seed_everything(seed, verbose=False)
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def quiet() -> Iterator[None]:
    """Keep in the block to oneself what Lightning says of every trainer, fit and checkpoint anew."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before = logger.level
    try:
        logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            yield
    finally:
        logger.setLevel(before)


def _best(objective: Objective, folder: Path) -> ModelCheckpoint:
    path = best_checkpoint(folder, objective)
    return ModelCheckpoint(
        path.parent,
        path.stem,
        monitor=objective.monitor,
        mode="max",
        save_on_train_epoch_end=False,  # but when it is measured
        enable_version_counter=False,
        auto_insert_metric_name=False,
    )
