"""InteractionSource: what there is to know of the interactions that a subclass loads."""

from __future__ import annotations

import abc
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from croloss_serving.recommend.event_inputs import DATES, NUMBERS, EventInputs
from croloss_serving.recommend.time_units import typical_time
from lightning_croloss.data.features import Feature
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.report import PreparationReport
from lightning_croloss.data.splits import Split, SplitRows
from lightning_croloss.errors import DataError

if TYPE_CHECKING:
    from lightning_croloss.data.partitions.table import PartitionedTable


class InteractionSource(abc.ABC):
    """The interactions, their vocabularies and features, and which of them a split trains and evaluates on.

    Everything is loaded when first needed and kept.

    Attributes:
        split: which events are targets of training, validation and test.
    """

    split: Split

    @abc.abstractmethod
    def load(self) -> Interactions:
        """Read the data; called once, when it is first needed."""

    def source_files(self) -> list[Path]:
        """Return the files whose content decides what is loaded; none unless overridden.

        By these a search that goes on later knows whether the data are still those that it began with.
        """
        return []

    @property
    def partitions(self) -> PartitionedTable | None:
        """What is the same in all processes, where each has some of the users; None where each has all."""
        return None

    @cached_property
    def interactions(self) -> Interactions:
        """All events, or those of this process if it reads :attr:`partitions`."""
        arranged = self.split.arrange(self.load())
        if (note := self.split.note_on(arranged)) is not None:
            rank_zero_info(note)
        return arranged

    def load_unfiltered(self) -> Interactions | None:
        """Read the events again without the filters that count those of a user or item.

        Returns:
            The events; None if there are no such filters, as here.
        """
        return None

    @cached_property
    def _everyone(self) -> Interactions | None:
        return self.load_unfiltered()

    def load_features(self) -> tuple[list[Feature], list[Feature]]:
        """Return the features of the items and of the users; none unless overridden."""
        return [], []

    def load_user_features(self, users: Vocabulary) -> list[Feature]:
        """Return the features of users that training left out, as those of :attr:`features` are read.

        Args:
            users: their tokens.

        Returns:
            Those features, or none, as here: then nothing is known of them.
        """
        return []

    @cached_property
    def features(self) -> tuple[list[Feature], list[Feature]]:
        """The features of the items and of the users.

        Raises:
            DataError: two of them have one name, so that no checkpoint could tell them apart.
        """
        found = self.load_features()
        for features in found:
            names = [feature.name for feature in features]
            if twice := [name for name in names if names.count(name) > 1]:
                raise DataError(f"two features are named {twice[0]!r}: give each a name of its own")
        return found

    @property
    def report(self) -> PreparationReport | None:
        """The record of the preparation, where the source keeps one."""
        return None

    @property
    def reading(self) -> dict[str, Any] | None:
        """How the events were read, in plain types, where more of them can be read likewise."""
        return None

    @property
    def item_feature_specs(self) -> list[dict[str, Any]]:
        """Name, kind, size and width of each item feature."""
        return [feature.spec for feature in self.features[0]]

    @property
    def user_feature_specs(self) -> list[dict[str, Any]]:
        """Name, kind, size and width of each user feature."""
        return [feature.spec for feature in self.features[1]]

    @property
    def time_feature(self) -> str | None:
        """The column of the times if event features name it; None if they do not, as here."""
        return None

    @property
    def times_are(self) -> str | None:
        """What the times of the events are, "numbers" or "dates"; None without times."""
        if self.partitions is not None:
            return self.partitions.summary.times_are
        if self.interactions.times is None:
            return None
        return DATES if self.interactions.has_dates else NUMBERS

    @cached_property
    def typical_time(self) -> float | None:
        """The size that half of the times of the training events are below, as models read them."""
        if self.partitions is not None:
            return self.partitions.summary.typical_time
        times = self.interactions.whole_times
        return None if times is None else typical_time(times[self.rows.training_events].numpy())

    @cached_property
    def event_inputs(self) -> EventInputs:
        """All that a model can read of the histories' events, learned from the training events."""
        if self.partitions is not None:
            return EventInputs(self.times_are, self.partitions.summary.encodings, self.typical_time)
        training = self.rows.training_events
        encodings = tuple(column.learn(training) for column in self.interactions.columns)
        return EventInputs(self.times_are, encodings, self.typical_time)

    @property
    def event_feature_specs(self) -> list[dict[str, Any]]:
        """Name, kind, size and width of each feature of events.

        The column of times, if it is a feature, is the last one, of the kind "time".
        """
        specs = [
            {
                "name": one.name,
                "kind": one.kind,
                "size": 0 if one.tokens is None else len(one.tokens) + 1,
                "width": 1,
            }
            for one in self.event_inputs.encodings
        ]
        if self.time_feature is not None:
            specs.append({"name": self.time_feature, "kind": "time", "size": 0, "width": 1})
        return specs

    @cached_property
    def rows(self) -> SplitRows:
        """The targets of training, validation and test, as the split has them."""
        rows = self.split.split(self.interactions)
        if self.partitions is None:
            return rows
        return replace(rows, unseen_users=self.partitions.summary.unseen_users)

    @property
    def training_pairs(self) -> tuple[Tensor, Tensor]:
        """Users and items (S,) of the training events of all processes, in the order of the users."""
        if self.partitions is not None and self.interactions.share is not None:
            return self.partitions.training_pairs()
        training = self.rows.training_events
        return self.interactions.users[training], self.interactions.items[training]

    @property
    def num_items(self) -> int:
        """Number of real items in the catalogue."""
        if self.partitions is not None:
            return self.partitions.summary.num_items
        return self.interactions.num_items

    @property
    def num_users(self) -> int:
        """Number of real users, of all processes."""
        if self.partitions is not None:
            return self.partitions.summary.num_users
        return self.interactions.num_users

    @property
    def item_vocabulary(self) -> Vocabulary:
        """Tokens of the items."""
        if self.partitions is not None:
            return self.partitions.item_vocabulary
        return self.interactions.item_vocabulary

    @property
    def user_vocabulary(self) -> Vocabulary:
        """Tokens of the users, of all processes."""
        if self.partitions is not None:
            return self.partitions.user_vocabulary
        return self.interactions.user_vocabulary

    def load_titles(self, vocabulary: Vocabulary) -> list[str] | None:
        """Return what a person calls each item of a vocabulary; None unless overridden."""
        return None

    @cached_property
    def item_titles(self) -> list[str] | None:
        """What a person calls each item of 1 … num_items, "" where nothing is known; None without titles."""
        return self.load_titles(self.item_vocabulary)

    @cached_property
    def item_counts(self) -> Tensor:
        """(num_items + 1,) int64 occurrences of each item in the training events; index 0 is 0."""
        if self.partitions is not None:
            return self.partitions.summary.item_counts
        items = self.interactions.items[self.rows.training_events]
        return torch.bincount(items, minlength=self.num_items + 1)
