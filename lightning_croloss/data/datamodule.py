"""RetrievalDataModule: the loaders of training, evaluation and prediction over a source of interactions."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor

from lightning_croloss.common.seeding import run_seed
from lightning_croloss.configurable import Configurable
from lightning_croloss.data.event_columns import EventTable
from lightning_croloss.data.features import Feature
from lightning_croloss.data.interaction_source import InteractionSource
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.loader import BatchLoader
from lightning_croloss.data.loader_options import check_loader_options
from lightning_croloss.data.next_targets import NextTargets
from lightning_croloss.data.own_rows_loader import OwnRowsLoader, check_rows, said_by_all
from lightning_croloss.data.recipients import RecipientDataset, Recipients
from lightning_croloss.data.report import COUNTING
from lightning_croloss.data.request import DataRequest
from lightning_croloss.data.sequences import SequenceDataset
from lightning_croloss.data.splits import LeaveOneOut, Split, TargetRows
from lightning_croloss.data.training_record import TrainingRecord
from lightning_croloss.data.training_targets import target_counts, training_rows
from lightning_croloss.data.weight_scale import weight_scale
from lightning_croloss.errors import DataError


class RetrievalDataModule(Configurable, InteractionSource, LightningDataModule):
    """Split, histories and loaders over the interactions that a subclass loads.

    The data is loaded when first needed and kept.

    Args:
        split: which events are targets of training, validation and test; None is :class:`LeaveOneOut`.
        batch_size: rows of a training batch, in each process.
        eval_batch_size: rows of a validation, test or prediction batch, in each process.
        max_history: the most events of a history: the last ones before the target.
        seed: seed of the training order; None is the seed given to ``seed_everything``, else 0. A run that
            is resumed keeps its own.
        predict_users: whom ``Trainer.predict`` serves: "all" is every user of the data with all of its
            events, also those that have too few for training; "test" is the rows of the test part, with the
            events before their targets.
        group_by_length: whether the rows of a training batch have histories of similar length, so that little
            of it is padding: an epoch takes less time where most histories are shorter than ``max_history``.
            Batches are then less random, which may cost Recall.
        target_window: among how many targets that a user has in training the target of a history is drawn in
            each epoch, the next one being the first; 1 is the next one itself. No event of validation or test
            is ever drawn.
        targets_per_history: number of different ones that are drawn, fewer where there are fewer.
        max_eval_users: how many rows validation and test each measure at most, spread evenly over all of the
            part, since the first users of a file can be unlike the others; None = all.
        events_on_device: whether the events of training lie on the accelerator that trains, where histories
            are then gathered, instead of being gathered by the processor and copied in each step.
            The batches are the same. It takes 8 bytes of the accelerator's memory an event, and as many for
            each feature of the events that the model reads; without an accelerator it does nothing.

    Attributes:
        request: what the loaders, ``train_rows`` and ``target_counts`` follow, see :meth:`prepare_for`.

    Raises:
        ValueError: if a size is below 1, the seed is negative, or predict_users is neither.
        TypeError: if split is not a :class:`Split`.
    """

    def __init__(
        self,
        split: Split | None = None,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        max_history: int = 50,
        seed: int | None = None,
        predict_users: Literal["all", "test"] = "all",
        group_by_length: bool = False,
        target_window: int = 1,
        targets_per_history: int = 1,
        max_eval_users: int | None = None,
        events_on_device: bool = False,
    ) -> None:
        super().__init__()
        check_loader_options(
            seed,
            predict_users,
            target_window,
            targets_per_history,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            max_history=max_history,
            **({} if max_eval_users is None else {"max_eval_users": max_eval_users}),
        )
        if split is not None and not isinstance(split, Split):
            raise TypeError(f"split={split!r} must be a Split, for example LeaveOneOut()")
        self.split = split or LeaveOneOut()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.max_history = max_history
        self.seed = seed
        self.predict_users = predict_users
        self.group_by_length = group_by_length
        self.target_window = target_window
        self.targets_per_history = targets_per_history
        self.max_eval_users = max_eval_users
        self.events_on_device = events_on_device
        self.request = DataRequest()
        self._recipients: dict[bool, Recipients] = {}

    def prepare_for(self, request: DataRequest) -> None:
        """Give a model what it needs: loaders made from now on, and the training targets, follow ``request``.

        The latest request replaces the one before; loaders that were made already stay as they are.
        """
        self.request = request

    @property
    def recipients(self) -> Recipients | None:
        """The users that ``Trainer.predict`` serves; None if these are the rows of the test part."""
        if self.predict_users == "test":
            return None
        known_only = self.request.known_users_only
        if known_only not in self._recipients:
            self._recipients[known_only] = Recipients.of(self.interactions, self._everyone, known_only)
        return self._recipients[known_only]

    @property
    def users_not_served(self) -> tuple[int, str]:
        """How many of the data's users ``Trainer.predict`` has no row for, whatever the model, and why."""
        if self.predict_users == "test":
            if self.partitions is not None:
                served = int(self.partitions.summary.evaluated["test"].sum())
            else:
                served = len(self.interactions.users[self.rows.test.first].unique())
            users = self.num_users if self.report is None else self.report.read.users
            return users - served, "who have no row in the test part"
        steps = [] if self.report is None else [step for step in self.report.steps if step.name != COUNTING]
        reasons = [step.reason for step in steps if step.dropped.users]
        number = sum(step.dropped.users for step in steps)
        return number, f"of whom the data leaves out all events ({'; '.join(reasons)})"

    def _events_of(self, interactions: Interactions, request: DataRequest) -> EventTable | None:
        return EventTable.of(interactions.columns, interactions.whole_times, request.events)

    @property
    def train_rows(self) -> TargetRows:
        """The targets of training, with the users' first events if the request asks for them."""
        return training_rows(self.interactions, self.rows, self.request.first_events)

    @property
    def target_counts(self) -> Tensor:
        """(num_items + 1,) int64 occurrences of each item among the training targets; index 0 is 0.

        With a ``target_window`` above 1 float64: how often an item is a target in an epoch on average.
        """
        if self.partitions is not None:
            return self.partitions.summary.target_counts[int(self.request.first_events)]
        return target_counts(
            self.interactions, self.train_rows, self.num_items, self.target_window, self.targets_per_history
        )

    @cached_property
    def training_record(self) -> TrainingRecord:
        """What decided the training part, and what it came to, to compare it with that of other data."""
        partitions, weights = self.partitions, self.interactions.weights
        return TrainingRecord.of(
            self.split,
            self.target_window,
            self.targets_per_history,
            self.reading,
            len(self.rows.train) if partitions is None else int(partitions.summary.rows["train"]),
            self.item_counts,
            self.interactions.items[self.rows.training_events] if self.interactions.share is None else None,
            None if weights is None else weights[self.rows.training_events],
        )

    def _next_targets(self) -> NextTargets | None:
        """Return what draws the targets of training; None if they are those of the rows."""
        if self.target_window == 1:
            return None
        return NextTargets(self.interactions, self.train_rows, self.target_window, self.targets_per_history)

    def train_dataloader(self) -> BatchLoader:
        """Return the loader of training rows, shuffled unless the trainer overfits on a few batches."""
        dataset = SequenceDataset(
            self.interactions,
            self.train_rows,
            self.max_history,
            include_known_positives=self.request.known_positives,
            training_events=self.rows.training_events,
            all_positions=self.request.all_positions,
            next_targets=self._next_targets(),
            events=self._events_of(self.interactions, self.request),
            device=self._device_of_events,
            weight_scale=self._weight_scale,
        )
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        return self._loader(dataset, self.batch_size, "training", shuffle)

    def val_dataloader(self) -> BatchLoader:
        """Return the loader of validation rows."""
        return self._evaluation(self.measured_rows("valid"), "validation", self.request)

    def test_dataloader(self) -> BatchLoader:
        """Return the loader of test rows."""
        return self._evaluation(self.measured_rows("test"), "test", self.request)

    def predict_dataloader(self) -> BatchLoader:
        """Return the loader of the users that are served, in the order of :attr:`recipients`."""
        recipients = self.recipients
        if recipients is None:
            return self._evaluation(self.rows.test, "prediction", self.request)
        features: list[Feature] = []
        if self.request.user_features and len(recipients) > recipients.num_known:
            features = self.load_user_features(recipients.vocabulary)
        events = self._events_of(recipients.interactions, self.request)
        whole = self.request.whole_history
        dataset = RecipientDataset(recipients, self.max_history, whole, features, events)
        return self._loader(dataset, self.eval_batch_size, "prediction", shuffle=False)

    def measured_rows(self, part: Literal["valid", "test"]) -> TargetRows:
        """Return the rows of validation or test that are measured: all, or ``max_eval_users`` of them."""
        return self._spread(part, self.max_eval_users)

    def _spread(self, part: Literal["valid", "test"], *limits: int | None) -> TargetRows:
        """Return the rows of this process, of as many of all as the limits say, one after the other."""
        rows: TargetRows = getattr(self.rows, part)
        most = [limit for limit in limits if limit is not None]
        if self.partitions is not None:
            return self.partitions.spread(rows, part, self.interactions, most)
        for limit in most:
            rows = rows.spread(limit)
        return rows

    def evaluation_loader(
        self, part: Literal["valid", "test"], request: DataRequest, most: int | None = None
    ) -> BatchLoader:
        """Return a loader of evaluation rows for somebody else than the model, whose request stays.

        Args:
            part: "valid" or "test".
            request: what the batches must hold.
            most: how many of the measured rows are wanted, spread evenly over them; None = all.

        Raises:
            ValueError: if there is no such part.
        """
        purposes = {"valid": "validation", "test": "test"}
        if part not in purposes:
            raise ValueError(f"part={part!r} must be 'valid' or 'test'")
        return self._evaluation(self._spread(part, self.max_eval_users, most), purposes[part], request)

    def _evaluation(self, rows: TargetRows, purpose: str, request: DataRequest) -> BatchLoader:
        dataset = SequenceDataset(
            self.interactions,
            rows,
            self.max_history,
            include_whole_history=request.whole_history,
            events=self._events_of(self.interactions, request),
        )
        return self._loader(dataset, self.eval_batch_size, purpose, shuffle=False)

    def _loader(
        self, dataset: SequenceDataset | RecipientDataset, batch_size: int, purpose: str, shuffle: bool
    ) -> BatchLoader:
        rank, world_size = self._process
        seed = next(seed for seed in (self.request.seed, self.seed, run_seed()) if seed is not None)
        drawn = dataset.next_targets if isinstance(dataset, SequenceDataset) else None
        options: dict[str, Any] = {
            "recounted": self.request.recounted,
            "group_by_length": self.group_by_length,
            "on_epoch": drawn.begin_epoch if drawn is not None else None,
            "pinned": self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        }
        if self.interactions.share is not None:
            sizes = said_by_all(len(dataset))
            check_rows(sizes, purpose, batch_size if not shuffle else max(sizes))
            return OwnRowsLoader(dataset, batch_size, shuffle, seed, rank, sizes, **options)
        if len(dataset) < world_size:
            raise DataError(
                f"{purpose} has {len(dataset)} rows, fewer than the {world_size} processes: use fewer devices"
            )
        return BatchLoader(dataset, batch_size, shuffle, seed, rank, world_size, **options)

    @property
    def _weight_scale(self) -> float:
        """What weights of events are multiplied by, alike in all processes, which all ask at once."""
        weights = self.interactions.weights
        if weights is None:
            return 1.0
        chosen = weights[self.rows.training_events]
        largest = float(chosen.max()) if len(chosen) else 0.0
        if self.interactions.share is not None:
            largest = max(said_by_all(largest))
        half = self.trainer is not None and _in_float16(self.trainer)
        return weight_scale(largest, half)

    @property
    def _device_of_events(self) -> torch.device | None:
        """Where the events of training are to be; None = where they were read."""
        if not self.events_on_device or self.trainer is None:
            return None
        device = self.trainer.strategy.root_device
        return None if device.type == "cpu" else device

    @property
    def _process(self) -> tuple[int, int]:
        """The number of this process, and that of all."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size


def _in_float16(trainer: Trainer) -> bool:
    """Tell whether the trainer converts batches to float16."""
    return bool(trainer.precision_plugin.convert_input(torch.ones(1)).dtype == torch.float16)
