"""What a data module holds, in numbers: sizes, history lengths, popularity, parts and features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.configurable import to_config
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.features import Feature
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits import TargetRows
from lightning_croloss.data.targets import distinct_targets

#: Quantiles of the lengths of histories by name.
QUANTILES = {"min": 0.0, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99}
PARTS = ("train", "valid", "test")


def describe(data: RetrievalDataModule) -> dict[str, Any]:
    """Return what ``data`` holds, as plain dictionaries and lists of numbers and text.

    Raises:
        DataError: if the data cannot be read or split.
    """
    interactions, rows = data.interactions, data.rows
    lengths = interactions.lengths[1:]
    lengths = lengths[lengths > 0]
    item_features, user_features = data.features  # before the report, which notes what they lack
    report, times = data.report, interactions.times
    counts = torch.bincount(interactions.items, minlength=interactions.num_items + 1)[1:]
    seen_users = (
        torch.bincount(interactions.users[rows.training_events], minlength=interactions.num_users + 1) > 0
    )
    seen_items = data.item_counts > 0
    return {
        "data": type(data).__name__,
        "preparation": None if report is None else report.to_dict(),
        "interactions": {
            "users": len(lengths),
            "items": interactions.num_items,
            "interactions": len(interactions),
            "density": len(interactions) / (len(lengths) * interactions.num_items),
            "repeats": 1 - _num_pairs(interactions) / len(interactions),
            "items_without_interactions": int((counts == 0).sum()),
            "first_time": None if times is None else interactions.readable_time(times.min().item()),
            "last_time": None if times is None else interactions.readable_time(times.max().item()),
        },
        "events_per_user": quantiles(lengths),
        "users_beyond_max_history": int((lengths - 1 > data.max_history).sum()) / len(lengths),
        "popularity": popularity(counts),
        "split": {
            "name": type(data.split).__name__,
            "arguments": to_config(data.split)["init_args"],
            "parts": {
                part: _part(interactions, getattr(rows, part), seen_users, seen_items) for part in PARTS
            },
            "training_events": int(rows.training_events.sum()),
            "unused_events": _unused(interactions, rows.training_events, [rows.valid, rows.test]),
        },
        "item_features": [_feature(feature) for feature in item_features],
        "user_features": [_feature(feature) for feature in user_features],
    }


def quantiles(lengths: Tensor) -> dict[str, float]:
    """Return :data:`QUANTILES`, maximum and mean of lengths (n,); each quantile is one of the lengths."""
    ordered = lengths.sort().values
    last = len(ordered) - 1
    found = {name: int(ordered[round(fraction * last)]) for name, fraction in QUANTILES.items()}
    return {**found, "max": int(ordered[-1]), "mean": float(lengths.double().mean())}


def popularity(counts: Tensor) -> dict[str, float]:
    """Return how unevenly interactions are spread over items: shares of the top 1 % and 10 %, and Gini.

    Args:
        counts: (n,) number of interactions of each item.

    Returns:
        The share of the interactions that goes to the most popular 1 % and 10 % of the items, rounded up to
        whole items, and the Gini coefficient: 0 if all items are equal, near 1 if one has everything.
    """
    ordered = counts.sort().values.double()
    total, size = float(ordered.sum()), len(ordered)
    rank = torch.arange(1, size + 1, dtype=torch.float64)
    return {
        "top_1_percent": float(ordered[size - math.ceil(size / 100) :].sum()) / total,
        "top_10_percent": float(ordered[size - math.ceil(size / 10) :].sum()) / total,
        "gini": float(((2 * rank - size - 1) * ordered).sum()) / (size * total),
    }


def _part(
    interactions: Interactions, rows: TargetRows, seen_users: Tensor, seen_items: Tensor
) -> dict[str, Any]:
    """Describe one part; seen is, by id, what training has an event of."""
    targets = distinct_targets(interactions, rows.first, rows.stop)[1]
    items, users = targets.unique(), interactions.users[rows.first].unique()
    return {
        "rows": len(rows),
        "targets": len(targets),
        "users": len(users),
        "items": len(items),
        "unseen_users": int((~seen_users[users]).sum()),
        "unseen_items": int((~seen_items[items]).sum()),
        "targets_of_unseen_items": int((~seen_items[targets]).sum()),
    }


def _covered(interactions: Interactions, begin: Tensor, stop: Tensor) -> Tensor:
    """Return (E,) bool: the events in any of the ranges ``[begin, stop)`` (n,)."""
    edges = torch.zeros(len(interactions) + 1, dtype=torch.int64)
    edges.index_add_(0, begin, torch.ones_like(begin))
    edges.index_add_(0, stop, -torch.ones_like(stop))
    return edges.cumsum(0)[:-1] > 0


def _unused(interactions: Interactions, training_events: Tensor, evaluation: list[TargetRows]) -> int:
    """Return the number of events that are neither for training nor history or target of an evaluation."""
    used = training_events.clone()
    for rows in evaluation:
        used |= _covered(interactions, interactions.user_offsets[interactions.users[rows.first]], rows.stop)
    return int((~used).sum())


def _num_pairs(interactions: Interactions) -> int:
    """Return the number of different pairs of user and item."""
    return len((interactions.users * (interactions.num_items + 1) + interactions.items).unique())


def _feature(feature: Feature) -> dict[str, Any]:
    size = len(feature.values) - 1
    coverage = 1 - feature.num_missing / size
    return {
        **feature.spec,
        "missing": feature.num_missing,
        "coverage": coverage,
        "absurd": feature.num_absurd,
    }
