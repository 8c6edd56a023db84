"""PartitionedTable: what is the same in all processes, and the events of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from croloss_serving.common.home_folder import expanded
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.partitions.assignment import assigned
from lightning_croloss.data.partitions.manifest import PREPARED
from lightning_croloss.data.partitions.numbering import Numbering
from lightning_croloss.data.partitions.prepared import prepared
from lightning_croloss.data.partitions.reader import PartitionEvents, PartitionReader
from lightning_croloss.data.partitions.scanning import Wanted
from lightning_croloss.data.partitions.summary import Summary
from lightning_croloss.data.partitions.tally import Silent
from lightning_croloss.data.splits import Predefined, TargetRows
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.errors import DataError


class PartitionedTable:
    """A folder of partitions, of which each process reads some.

    Args:
        spec: the folder, the columns, and what is done with the events.
        wanted: the split and the drawing of targets.

    Raises:
        DataError: the folder cannot be used, or the split needs all events in one place.
    """

    def __init__(self, spec: TableSpec, wanted: Wanted) -> None:
        if not isinstance(spec.interactions, str):
            raise DataError("partitioned_by_user: interactions must name one folder, not a list")
        if isinstance(wanted.split, Predefined) and (wanted.split.column is None or wanted.split.fraction):
            raise DataError(
                "partitioned_by_user: the split Predefined needs a column that says the part of each event, "
                "validation included: name it in split.column, and keep it when the table is divided"
            )
        folder = expanded(spec.interactions)
        self.reader, self.wanted = PartitionReader(folder, spec), wanted
        kept = folder / PREPARED if spec.cache_dir is None else expanded(spec.cache_dir)
        self._kept = kept

    @cached_property
    def summary(self) -> Summary:
        """What all processes know alike."""
        return prepared(self.reader, self.wanted, self._kept)

    @cached_property
    def item_vocabulary(self) -> Vocabulary:
        """The tokens of the items that are left."""
        return Vocabulary(self.reader.items.filter(self.summary.items).to_numpy())

    @cached_property
    def user_vocabulary(self) -> Vocabulary:
        """The tokens of all users that are left, in whichever process; read when they are asked for."""
        return Vocabulary(self.reader.user_tokens(self.summary.users))

    def interactions(self, rank: int, world_size: int) -> Interactions:
        """Return the events of a process.

        Raises:
            DataError: there are fewer partitions than processes, or the filters leave this process none.
        """
        self._check_shares(world_size)
        numbering = Numbering(self.summary.items, self.summary.users, self.item_vocabulary)
        parts = (
            part.left(self.summary.items, self.summary.users)
            for part in self._parts(rank, world_size, self.reader)
        )
        return numbering.interactions(parts, self.summary.boundaries, whole=world_size == 1)

    def _check_shares(self, world_size: int) -> None:
        """Refuse, in all processes alike, that one of them has no users."""
        counts = np.bincount(
            self.reader.user_partitions()[self.summary.users], minlength=len(self.reader.manifest.partitions)
        )
        events = [part.rows for part in self.reader.manifest.partitions]
        for rank, numbers in enumerate(assigned(events, world_size, self.reader.name)):
            if not counts[numbers].sum():
                raise DataError(
                    f"{self.reader.name}: the filters leave process {rank} of {world_size} no events: use "
                    "fewer devices, or milder filters"
                )

    def unfiltered(self, rank: int, world_size: int) -> Interactions:
        """Return the events of a process before the filters that count those of a user or an item."""
        spec = replace(self.reader.spec, min_user_interactions=1, min_item_interactions=1, k_core=False)
        reader = PartitionReader(self.reader.folder, spec)
        parts = [*self._parts(rank, world_size, reader)]
        users = np.zeros(self.reader.manifest.users.rows, dtype=np.bool_)
        for part in parts:
            users[part.numbers[np.unique(part.events.users)]] = True
        items = np.ones(len(self.reader.items), dtype=np.bool_)
        # the numbers of users are those of this process: nobody asks for others
        numbering = Numbering(items, users, Vocabulary(self.reader.items.to_numpy()))
        return numbering.interactions(parts, whole=True)

    def spread(
        self, rows: TargetRows, part: str, interactions: Interactions, limits: Sequence[int]
    ) -> TargetRows:
        """Return those of the rows of a process that are among so many of all, spread evenly over them.

        Args:
            rows: the rows of this process.
            part: "valid" or "test".
            interactions: the events of this process.
            limits: numbers of rows of all processes, each of those that the one before leaves.
        """
        marks = self.summary.evaluated[part]
        wanted = np.ones(int(marks.sum()), dtype=np.bool_)
        for most in limits:
            left = np.flatnonzero(wanted)
            if len(left) > most:
                wanted[:] = False
                wanted[left[np.arange(most) * len(left) // most]] = True
        if wanted.all():
            return rows
        users = interactions.known_users(interactions.users[rows.first]).numpy()
        chosen = torch.from_numpy(wanted[np.cumsum(marks)[users - 1] - 1])
        return TargetRows(rows.first[chosen], rows.stop[chosen])

    def training_pairs(self) -> tuple[Tensor, Tensor]:
        """Return users and items (S,) of the training events of all processes, in the order of the users."""
        numbering = Numbering(self.summary.items, self.summary.users, self.item_vocabulary)
        users, items = [], []
        for part in self._parts(0, 1, self.reader):
            left = part.left(self.summary.items, self.summary.users)
            if len(left.events):
                events = numbering.interactions([left], self.summary.boundaries)
                training = self.wanted.split.split(events).training_events
                users.append(events.known_users(events.users[training]))
                items.append(events.items[training])
        found = torch.cat(users)
        order = torch.argsort(found, stable=True)
        return found[order], torch.cat(items)[order]

    def _parts(self, rank: int, world_size: int, reader: PartitionReader) -> Iterator[PartitionEvents]:
        events = [part.rows for part in reader.manifest.partitions]
        numbers = assigned(events, world_size, reader.name)[rank]
        place_of_users: NDArray[np.int32] = reader.user_partitions()
        for number in numbers:
            if (part := reader.read(number, Silent(reader.spec), place_of_users)) is not None:
                yield part
