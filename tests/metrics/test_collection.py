"""Every metric of an evaluation from the same ranks."""

import torch

from lightning_croloss.metrics.collection import RankMetrics
from tests.metrics.cases import METRICS

RANKS = torch.tensor([[1, 7, 30], [2, 4, 9]])
MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_each_metric_counts_the_same_users() -> None:
    metrics = RankMetrics(ns=(1, 10))
    expected = {}
    for metric_class in METRICS:
        alone = metric_class(ns=(1, 10))
        for rows in (slice(0, 1), slice(1, 2)):
            alone.update(RANKS[rows], MASK[rows])
        expected |= alone.compute()
    for rows in (slice(0, 1), slice(1, 2)):
        metrics.update(RANKS[rows], MASK[rows])
    assert metrics.compute() == expected
    assert metrics.names() == list(metrics.compute())
    assert {name.partition("@")[0] for name in expected} == {"recall", "hit_rate", "ndcg", "mrr"}


def test_reset_forgets_every_user() -> None:
    metrics = RankMetrics(ns=(10,))
    metrics.update(RANKS, MASK)
    metrics.reset()
    metrics.update(RANKS[1:], MASK[1:])
    one = RankMetrics(ns=(10,))
    one.update(RANKS[1:], MASK[1:])
    assert metrics.compute() == one.compute()
