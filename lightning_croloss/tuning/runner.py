"""Runs the jobs of a search in this process: each builds its candidate anew and trains one segment."""

from __future__ import annotations

import copy
import logging
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_croloss.common.argument_types import told
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.configurable import to_config
from lightning_croloss.errors import NonFiniteLossError, PretrainedError
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.schedules.checks import find_loss
from lightning_croloss.training.resume import batches_so_far
from lightning_croloss.tuning.best_checkpoint import BestCheckpoint
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import MEAN, Objective
from lightning_croloss.tuning.objective_logger import ObjectiveLogger
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.records import Records
from lightning_croloss.tuning.search import Job
from lightning_croloss.tuning.segment import Data, train_segment
from lightning_croloss.tuning.trainers import TrainerArguments, Trainers

#: What makes a candidate fail, and not the search: settings that nothing can be trained with.
FAILURES = (NonFiniteLossError, PretrainedError, ValueError, ArithmeticError, torch.OutOfMemoryError)
ModelFactory = Callable[..., LightningModule]


class Runner:
    """Builds what a job needs, and trains it.

    Args:
        model_factory: builds a module from a loss, and the fields of the candidate if it has any.
        data: what ``trainer.fit`` is given, or what makes it.
        trainer: arguments of ``Trainer``, or what makes them; None are those of ten epochs.
        objectives: what is looked for; the best checkpoint of each is kept.
        seed: of every fit.
    """

    def __init__(
        self,
        model_factory: ModelFactory,
        data: Data | Callable[[], Data],
        trainer: TrainerArguments | None,
        objectives: Sequence[Objective],
        seed: int,
    ) -> None:
        self._factory = model_factory
        self._data = data
        self._trainers = Trainers(trainer)
        self.objectives = objectives
        self.seed = seed
        self._latest: Callable[[], LightningModule | None] = lambda: None

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
                text = " ".join(str(error).split()) or type(error).__name__
                return Outcome(reached, kept.validations, False, text, kept.seconds)

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
        """Build the module of a candidate.

        Raises:
            TypeError: the factory returns the same module again, or one that trains with another loss.
        """
        loss = self.loss(candidate)
        module = self._factory(loss, **candidate.fields)
        if not isinstance(module, LightningModule):
            raise TypeError(f"model_factory must return a LightningModule, got {type(module).__name__}")
        if self._latest() is module:
            raise TypeError("model_factory returned the same module twice: build a new one in each call")
        self._latest = weakref.ref(module)
        if not _trains_with(module, loss):
            raise TypeError(
                f"model_factory built a {type(module).__name__} without the loss that it was given"
            )
        return module

    def data(self) -> Data:
        """Return the data, made anew if that is how it was given."""
        made = self._data() if callable(self._data) else self._data
        loaders = isinstance(made, (tuple, list)) and len(made) == 2
        if made is None or loaders or isinstance(made, LightningDataModule):
            return made
        raise TypeError(
            "data must be a data module, the loaders of training and validation, or a function that makes "
            f"one of them, got {told(made, LightningDataModule)}"
        )

    def trainer(self, folder: Path) -> Trainer:
        """Build the trainer of a candidate that keeps its files in a folder."""
        means = [each for each in self.objectives if each.monitor == MEAN]
        first: list[Callback] = [ObjectiveLogger(each.weights, each.metric) for each in means]
        return self._trainers.build(folder, first, [BestCheckpoint(folder, each) for each in self.objectives])


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


def _trains_with(module: LightningModule, loss: RetrievalLoss) -> bool:
    """Tell whether the loss of a module is the one given, or a copy; the size of the catalogue may differ."""
    found = find_loss(module, "tune")
    if found is loss or type(found) is not type(loss):
        return found is loss
    try:
        configs = [to_config(each)["init_args"] | {"num_items": None} for each in (found, loss)]
    except TypeError:  # arguments that have no form in a file
        return True
    # what the rule has chosen for an n depends on the catalogue
    return configs[0] == configs[1] or configs[1].get("n") is not None
