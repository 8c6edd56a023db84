"""What the baselines reach for each user of the test, within a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.baselines.item_knn import (
    ItemKNN,
    TooManyNeighboursError,
    item_similarity,
    nearest_items,
)
from lightning_croloss.baselines.measuring import WHOLE, WHOLE_HISTORY, Baseline, baseline_ranks
from lightning_croloss.baselines.popularity import Popularity
from lightning_croloss.data import BatchLoader, RetrievalBatch, RetrievalDataModule
from lightning_croloss.metrics import RankMetrics

#: Settings of item kNN, neighbours and recent events, in the order in which they are tried.
SETTINGS = (
    (100, WHOLE),
    (100, 10),
    (400, WHOLE),
    (20, 10),
    (100, 1),
    (20, WHOLE),
    (400, 10),
    (20, 1),
    (400, 1),
)
#: Rows of validation that choose among them, spread over all, and the share of the time by which that is
#: to be over.
CHOOSING, CHOICE = 500, 0.6
#: Scores held at a time, and pairs of items of one user that are counted a second, on a slow machine.
SCORES, PAIRS = 2**22, 1e7


@dataclass(frozen=True)
class Measured:
    """What a baseline reaches.

    Args:
        name: what it is.
        setting: its setting, chosen by validation.
        values: (U,) the metric of each user of the test, in the order of the rows; None if it was left out.
        why: why it was left out.
    """

    name: str
    setting: dict[str, int]
    values: Tensor | None
    why: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return a dictionary of plain values, for files."""
        return {**vars(self), "values": None if self.values is None else self.values.tolist()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Measured:
        """Build what :meth:`to_plain` returned."""
        values = plain["values"]
        return cls(
            str(plain["name"]),
            {str(name): int(value) for name, value in plain["setting"].items()},
            None if values is None else torch.tensor([float(value) for value in values], dtype=torch.float64),
            str(plain["why"]),
        )


def measure_per_user(
    data: RetrievalDataModule,
    metric: Callable[[dict[str, Tensor]], Tensor],
    ns: list[int],
    exclude_history: bool,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[Measured]:
    """Measure popularity and item kNN for each user of the test.

    Popularity is measured in any case; item kNN with as many settings as the time allows, and not at all
    where its table of neighbours alone would take longer, or too much memory.

    Args:
        data: the data.
        metric: what is measured of the values of each metric, (U,) by name.
        ns: the N of the metrics.
        exclude_history: whether items that the user had before are left out, as for the model.
        seconds: how long it may take.
        clock: the time in seconds.
    """
    end, choosing = clock() + seconds, clock() + CHOICE * seconds

    loader = partial(data.evaluation_loader, request=WHOLE_HISTORY)
    whole, some = partial(loader, "test"), partial(loader, "valid", most=CHOOSING)

    def values(baseline: Baseline, rows: Callable[[], BatchLoader]) -> Tensor | None:
        # popularity has no time to keep: it is there in any case
        until = None if isinstance(baseline, Popularity) else end
        found = [
            metric(_of_users(baseline, batch, ns, exclude_history))
            for batch in _pieces(rows(), max(1, SCORES // data.num_items), until, clock)
        ]
        return None if until is not None and clock() > until else torch.cat(found)

    measured = [Measured("most popular", {}, values(Popularity(data), whole))]
    lengths = torch.bincount(data.interactions.users[data.rows.training_events]).double()
    if (float((lengths**2).sum()) / PAIRS) > end - clock():
        return [*measured, Measured("item kNN", {}, None, "its table of neighbours would take too long")]
    most = max(neighbours for neighbours, _ in SETTINGS)
    try:
        similarity, counts = item_similarity(data, most), data.item_counts[1:]
    except TooManyNeighboursError:
        return [
            *measured,
            Measured("item kNN", {}, None, "its table of neighbours would take too much memory"),
        ]

    def knn(setting: tuple[int, int]) -> ItemKNN:
        return ItemKNN(nearest_items(similarity, setting[0]), counts, *setting)

    began = clock()
    tested = values(knn(SETTINGS[0]), whole)
    if tested is None:
        return [*measured, Measured("item kNN", {}, None, "it would take too long")]
    test = clock() - began  # what is kept for the test of another setting
    reached: list[float] = []
    for setting in SETTINGS:
        began = clock()
        if clock() + test > choosing or (found := values(knn(setting), some)) is None:
            break
        reached.append(float(found.mean()))
        if clock() + (clock() - began) + test > choosing:
            break
    best = reached.index(max(reached)) if reached else 0
    if best > 0:
        better = values(knn(SETTINGS[best]), whole)
        best, tested = (0, tested) if better is None else (best, better)
    chosen = dict(zip(("neighbours", "recent"), SETTINGS[best], strict=True))
    return [*measured, Measured("item kNN", chosen, tested)]


def _of_users(
    baseline: Baseline, batch: RetrievalBatch, ns: list[int], exclude_history: bool
) -> dict[str, Tensor]:
    before, targets = batch.padded_items_before, batch.padded_targets
    ranks = baseline_ranks(baseline.scores(before), targets, before if exclude_history else None)
    return RankMetrics(ns).user_values(ranks, ranks > 0)


def _pieces(
    loader: BatchLoader, rows: int, until: float | None, clock: Callable[[], float]
) -> Iterator[RetrievalBatch]:
    """Yield the batches of a loader in pieces of so many rows, until the time is over."""
    for batch in loader:
        for _, piece in batch.pieces():
            for first in range(0, piece.batch_size, rows):
                if until is not None and clock() > until:
                    return
                yield piece[first : first + rows]


__all__ = ["Measured", "measure_per_user"]
