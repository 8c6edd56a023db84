"""Each metric against torchmetrics and against its definition."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
import torchmetrics.retrieval
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_croloss.metrics import HitRateAtN, MRRAtN, NDCGAtN, RankMetric, RecallAtN
from tests.metrics.cases import PER_METRIC

ORACLES = {
    RecallAtN: torchmetrics.retrieval.RetrievalRecall,
    HitRateAtN: torchmetrics.retrieval.RetrievalHitRate,
    NDCGAtN: torchmetrics.retrieval.RetrievalNormalizedDCG,
    MRRAtN: torchmetrics.retrieval.RetrievalMRR,
}


def naive_ranks(scores: Tensor, is_target: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks (B, T) and mask by the definition; scores and is_target (B, N)."""
    width = max(1, int(is_target.sum(1).max()))
    ranks = torch.zeros(len(scores), width, dtype=torch.int64)
    for user in range(len(scores)):
        for place, target in enumerate(is_target[user].nonzero().flatten().tolist()):
            others = [item for item in range(scores.shape[1]) if item != target]
            ranks[user, place] = 1 + sum(bool(scores[user, j] >= scores[user, target]) for j in others)
    return ranks, ranks > 0


def naive_value(name: str, ranks: list[int], n: int) -> float:
    """Return the metric of one user's ranks, by the definition."""
    hits = [rank for rank in ranks if rank <= n]
    if name == "recall":
        return len(hits) / len(ranks)
    if name == "hit_rate":
        return float(bool(hits))
    if name == "mrr":
        return 1 / min(hits) if hits else 0.0
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(n, len(ranks)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in hits) / ideal


def random_case(seed: int, users: int, items: int, distinct: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    is_target = torch.rand(users, items, generator=generator) < 0.25
    scores = torch.rand(users, items, generator=generator).argsort(1)
    return (scores if distinct else scores // 3), is_target


@PER_METRIC
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    users=st.integers(1, 6),
    items=st.integers(1, 14),
    ns=st.sets(st.integers(1, 20), min_size=1, max_size=3),
)
def test_equals_torchmetrics_without_ties(
    metric_class: type[RankMetric], seed: int, users: int, items: int, ns: set[int]
) -> None:
    scores, is_target = random_case(seed, users, items, distinct=True)
    ranks, mask = naive_ranks(scores, is_target)
    metric = metric_class(ns=sorted(ns))
    metric.update(ranks, mask)
    result = metric.compute()
    assert list(result) == [f"{metric.metric_name}@{n}" for n in sorted(ns)]
    indexes = torch.arange(users).unsqueeze(1).expand_as(scores)
    for n in ns:
        oracle = ORACLES[metric_class](top_k=n, empty_target_action="skip")
        expected = oracle(1.0 + scores, is_target, indexes=indexes)  # it ignores scores that are not positive
        assert result[f"{metric.metric_name}@{n}"].item() == pytest.approx(float(expected), abs=1e-6)


@PER_METRIC
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), items=st.integers(2, 14), n=st.integers(1, 15))
def test_ties_count_against_a_single_target(
    metric_class: type[RankMetric], seed: int, items: int, n: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (5, items), generator=generator)
    is_target = torch.zeros(5, items, dtype=torch.bool)
    is_target[torch.arange(5), torch.randint(0, items, (5,), generator=generator)] = True
    metric = metric_class(ns=[n])
    metric.update(*naive_ranks(scores, is_target))
    # the oracle is told that among equals the others win
    against = 1 + scores - 0.5 * is_target
    expected = ORACLES[metric_class](top_k=n)(
        against, is_target, indexes=torch.arange(5).unsqueeze(1).expand_as(scores)
    )
    assert metric.compute()[f"{metric.metric_name}@{n}"].item() == pytest.approx(float(expected), abs=1e-6)


@PER_METRIC
@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), users=st.integers(1, 6), items=st.integers(1, 14))
def test_equals_the_definition_with_tied_targets(
    metric_class: type[RankMetric], seed: int, users: int, items: int
) -> None:
    scores, is_target = random_case(seed, users, items, distinct=False)
    ranks, mask = naive_ranks(scores, is_target)
    metric = metric_class(ns=(1, 2, 5, 30))
    metric.update(ranks, mask)
    result = metric.compute()
    lists = [row[real].tolist() for row, real in zip(ranks, mask, strict=True) if real.any()]
    for n in (1, 2, 5, 30):
        values = [naive_value(metric.metric_name, row, n) for row in lists]
        expected = sum(values) / len(values) if values else 0.0
        assert result[f"{metric.metric_name}@{n}"].item() == pytest.approx(expected, abs=1e-9)


@PER_METRIC
def test_is_pickled_and_configurable(metric_class: type[RankMetric]) -> None:
    metric = pickle.loads(pickle.dumps(metric_class(ns=[50, 5])))
    assert metric.ns == (5, 50)
    assert metric_class().ns == (20, 50, 100, 200, 500)
