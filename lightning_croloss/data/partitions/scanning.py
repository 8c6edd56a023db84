"""The summary of a folder of partitions, of which one is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.recommend.event_inputs import DATES, NUMBERS
from lightning_croloss.data.event_columns import EventColumn
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.partitions.kept import Kept, find_kept
from lightning_croloss.data.partitions.numbering import Numbering
from lightning_croloss.data.partitions.order_statistics import OrderStatistics, TimesOnDisk
from lightning_croloss.data.partitions.reader import PartitionEvents, PartitionReader
from lightning_croloss.data.partitions.summary import Summary
from lightning_croloss.data.partitions.tally import Silent, Tally
from lightning_croloss.data.progress import Stages
from lightning_croloss.data.report import PreparationReport
from lightning_croloss.data.splits import Split
from lightning_croloss.data.splits.base import PARTS
from lightning_croloss.data.table.preparation import nothing_left
from lightning_croloss.data.training_targets import target_counts, training_rows


@dataclass(frozen=True)
class Wanted:
    """What a summary depends on besides the folder and its specification.

    Attributes:
        split: which events are targets.
        target_window: among how many targets that of a history is drawn in training.
        targets_per_history: number of those that are drawn.
    """

    split: Split
    target_window: int = 1
    targets_per_history: int = 1


def scan(reader: PartitionReader, wanted: Wanted, scratch: Path) -> Summary:
    """Read all partitions, one after the other, two or three times.

    Args:
        reader: the folder.
        wanted: the split and the drawing of targets.
        scratch: a folder for what is sorted, or read once more.

    Raises:
        DataError: a partition cannot be used, or nothing is left after the filters or of a part of the split.
    """
    rounds = 3 if wanted.split.divides_by_time else 2
    with Stages(rounds * len(reader.manifest.partitions)) as stages:
        return _Scan(reader, wanted, scratch, stages).run()


class _Scan:
    def __init__(self, reader: PartitionReader, wanted: Wanted, scratch: Path, stages: Stages) -> None:
        self.reader, self.wanted, self.scratch, self.stages = reader, wanted, scratch, stages
        self.place_of_users = reader.user_partitions()

    def run(self) -> Summary:
        tally = Tally(self.reader.spec, self.reader.items)
        kept = find_kept(self.reader, self.place_of_users, tally, self.scratch, self._begin("counting"))
        report = self._report(tally)
        if not kept.items.any():
            raise nothing_left(self.reader.name, report)
        boundaries = self._boundaries(kept)
        # tokens matter to nobody here
        numbering = Numbering(kept.items, kept.users, Vocabulary(np.arange(int(kept.items.sum()))))
        sums = _Sums(self.wanted, numbering, self.scratch)
        begin = self._begin("splitting")
        for number in range(len(self.reader.manifest.partitions)):
            begin(number)
            if (part := self._read(number)) is None:
                continue
            part = kept.of(part)
            if len(part.events):
                sums.add(numbering.interactions([part], boundaries))
        self.wanted.split.refuse_empty(sums.rows, numbering.num_users, kept.longest)
        spec = self.reader.spec
        return Summary(
            items=kept.items,
            users=kept.users,
            item_counts=sums.item_counts,
            target_counts=(sums.target_counts[0], sums.target_counts[1]),
            rows=sums.rows,
            evaluated=sums.evaluated,
            unseen_users=sums.unseen_users,
            boundaries=boundaries,
            times_are=None if spec.time_column is None else DATES if kept.dates else NUMBERS,
            typical_time=sums.sizes.median() if len(sums.sizes) else None,
            encodings=sums.encodings(),
            report=report,
        )

    def _begin(self, what: str) -> Callable[[int], None]:
        return lambda number: self.stages.begin(f"{what} {self.reader.manifest.partitions[number].file}")

    def _read(self, number: int) -> PartitionEvents | None:
        return self.reader.read(number, Silent(self.reader.spec), self.place_of_users)

    def _report(self, tally: Tally) -> PreparationReport:
        manifest = self.reader.manifest
        report = tally.whole([part.file for part in manifest.partitions])
        for reason, count in manifest.left_out.items():
            report.notes.append(f"croloss data partition had left out {count:,} rows: {reason}")
        return report

    def _boundaries(self, kept: Kept) -> tuple[int | float, int | float] | None:
        """Return when validation and test begin, if the split divides by time."""
        if not self.wanted.split.divides_by_time or self.reader.spec.time_column is None:
            return None  # without times the split says so
        times = TimesOnDisk(self.scratch, kept.dates)
        begin = self._begin("ordering the times of")
        for number in range(len(self.reader.manifest.partitions)):
            begin(number)
            if (part := self._read(number)) is not None:
                found = kept.of(part).events.times
                assert found is not None
                times.add(found)
        return self.wanted.split.boundaries(times)


class _Sums:
    """What is added up over partitions."""

    def __init__(self, wanted: Wanted, numbering: Numbering, scratch: Path) -> None:
        self.wanted, self.numbering = wanted, numbering
        self.num_items = len(numbering.item_vocabulary)
        kind = torch.int64 if wanted.target_window == 1 else torch.float64
        self.item_counts = torch.zeros(self.num_items + 1, dtype=torch.int64)
        self.target_counts = [torch.zeros(self.num_items + 1, dtype=kind) for _ in range(2)]
        self.rows = dict.fromkeys(PARTS, 0)
        self.evaluated = {part: np.zeros(numbering.num_users, dtype=np.bool_) for part in PARTS[1:]}
        self.unseen_users = False
        self.sizes = OrderStatistics(scratch, "sizes")
        self._columns: list[tuple[NDArray[np.int64], tuple[EventColumn, ...]]] = []

    def add(self, interactions: Interactions) -> None:
        """Add the events of a partition."""
        split = self.wanted.split
        interactions = split.arrange(interactions)
        found = split.split(interactions)
        training = found.training_events
        self.item_counts += torch.bincount(interactions.items[training], minlength=self.num_items + 1)
        for first_events, counts in enumerate(self.target_counts):
            chosen = training_rows(interactions, found, bool(first_events))
            counts += target_counts(
                interactions,
                chosen,
                self.num_items,
                self.wanted.target_window,
                self.wanted.targets_per_history,
            )
        for part in PARTS:
            self.rows[part] += len(getattr(found, part))
        for part, marks in self.evaluated.items():
            users = interactions.users[getattr(found, part).first]
            marks[interactions.known_users(users).numpy() - 1] = True
        self.unseen_users |= found.unseen_users
        if (times := interactions.whole_times) is not None:
            self.sizes.add(np.abs(times[training].numpy().astype(np.float64)))
        if interactions.columns:
            known = interactions.known_users(interactions.users[training]).numpy()
            self._columns.append((known, tuple(column[training] for column in interactions.columns)))

    def encodings(self) -> tuple[FeatureEncoding, ...]:
        """Return how the features of events are read; the values are taken in the order of the users."""
        if not self._columns:
            return ()
        order = np.argsort(np.concatenate([users for users, _ in self._columns]), kind="stable")
        found = []
        for place in range(len(self._columns[0][1])):
            parts = [columns[place] for _, columns in self._columns]
            if parts[0].kind == "numeric":
                values = torch.cat([part.values for part in parts])[torch.from_numpy(order)]
                column = EventColumn(parts[0].name, "numeric", values)
            else:
                tokens: dict[str, None] = {}
                for part in parts:
                    tokens |= {part.tokens[code - 1]: None for code in part.values.unique().tolist() if code}
                column = EventColumn.of_texts(parts[0].name, list(tokens))
            found.append(column.learn(torch.ones(len(column), dtype=torch.bool)))
        return tuple(found)
