"""What the baselines reach on the data of a model: settings by validation, figures on the test rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_croloss.baselines.item_knn import ItemKNN, item_similarity, nearest_items
from lightning_croloss.baselines.popularity import Popularity
from lightning_croloss.common.repeats import without_repeats
from lightning_croloss.data import BatchLoader, DataRequest, RetrievalBatch, RetrievalDataModule
from lightning_croloss.metrics import RankMetrics
from lightning_croloss.retrieval.ranks import deliverable

#: Settings of item kNN among which validation chooses.
NEIGHBOURS = (20, 100, 400)
WHOLE = 1_000
RECENT = (1, 10, WHOLE)
#: Rows of validation that choose, spread over all, and rows that are scored at a time.
CHOOSING, ROWS = 2_000, 256
#: The baselines score by all that a user had, whatever the model reads.
WHOLE_HISTORY = DataRequest(whole_history=True)


class Baseline(Protocol):
    """Scores every item for histories."""

    def scores(self, histories: Tensor) -> Tensor:
        """Return (B, num_items) float64 scores for histories (B, E), left-padded with 0."""


def measure_baselines(
    data: RetrievalDataModule, ns: Sequence[int], exclude_history: bool, choose_by: int
) -> dict[str, dict[str, Any]]:
    """Measure popularity and item kNN on the test rows, the settings of kNN chosen on validation.

    Args:
        data: the data.
        ns: the N of the metrics.
        exclude_history: whether items that the user had before are left out, as for the model.
        choose_by: the N whose Recall on validation chooses.

    Returns:
        For each baseline its ``setting``, its ``valid`` Recall at ``choose_by``, and its ``test`` metrics.

    Raises:
        MissingExtraError: scipy is not installed.
        TooManyNeighboursError: the neighbours of all items would take too much memory.
    """
    loader = partial(data.evaluation_loader, request=WHOLE_HISTORY)
    similarity, counts = item_similarity(data, max(NEIGHBOURS)), data.item_counts[1:]
    kinds: dict[str, list[tuple[dict[str, int], Baseline]]] = {"popularity": [({}, Popularity(data))]}
    nearest: dict[int, Any] = {}
    for k in sorted(NEIGHBOURS, reverse=True):  # the nearest few are among the nearest many
        similarity = nearest[k] = nearest_items(similarity, k)
    kinds["item_knn"] = [
        ({"neighbours": k, "recent": recent}, ItemKNN(nearest[k], counts, k, recent))
        for k in NEIGHBOURS
        for recent in RECENT
    ]
    measured = {}
    for name, trials in kinds.items():
        valid = [
            _evaluate(trial, loader("valid", most=CHOOSING), [choose_by], exclude_history)
            for _, trial in trials
        ]
        recalls = [values[f"recall@{choose_by}"] for values in valid]
        best = recalls.index(max(recalls))
        measured[name] = {
            "setting": trials[best][0],
            "valid": recalls[best],
            "test": _evaluate(trials[best][1], loader("test"), ns, exclude_history),
        }
    return measured


def baseline_ranks(scores: Tensor, targets: Tensor, excluded: Tensor | None) -> Tensor:
    """Rank targets by given scores, with the conventions of ``retrieval.target_ranks``.

    Args:
        scores: (B, N) finite scores of items 1 … N.
        targets: (B, T) item ids, 0 = padding.
        excluded: (B, E) ids that are not candidates, 0 = padding; or None.

    Returns:
        (B, T) ranks; 0 for padding and repetitions, beyond every n for excluded targets.
    """
    targets = without_repeats(targets)
    excluded = targets[:, :0] if excluded is None else excluded
    targets, ranks = deliverable(targets, excluded, scores.shape[1])
    padded = torch.cat([scores.new_full((len(scores), 1), -torch.inf), scores], dim=1)
    padded = padded.scatter(1, excluded, -torch.inf)
    for column in range(targets.shape[1]):
        rows = targets[:, column].nonzero().squeeze(1)
        candidates, wanted = padded[rows], targets[rows, column, None]
        # all that is not below, itself among them
        ranks[rows, column] = (candidates >= candidates.gather(1, wanted)).sum(1)
    return ranks


def _evaluate(
    baseline: Baseline, loader: BatchLoader, ns: Sequence[int], exclude_history: bool
) -> dict[str, float]:
    metrics = RankMetrics(ns)
    for batch in _pieces(loader):
        before, targets = batch.padded_items_before, batch.padded_targets
        ranks = baseline_ranks(baseline.scores(before), targets, before if exclude_history else None)
        metrics.update(ranks, targets != 0)
    return {name: float(value) for name, value in metrics.compute().items()}


def _pieces(loader: BatchLoader) -> Iterator[RetrievalBatch]:
    """Cut batches into pieces whose scores take little memory."""
    for batch in loader:
        assert batch.whole_history is not None
        for _, part in batch.pieces():
            for first in range(0, part.batch_size, ROWS):
                yield part[first : first + ROWS]
