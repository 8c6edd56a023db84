from __future__ import annotations

import math
import pickle
import warnings

import pytest
import torch
import torchmetrics.retrieval
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_croloss.metrics import HitRateAtN, MRRAtN, NDCGAtN, RankMetric, RecallAtN
from tests.distributed import run_distributed

METRICS: list[type[RankMetric]] = [RecallAtN, HitRateAtN, NDCGAtN, MRRAtN]
ORACLES = {
    RecallAtN: torchmetrics.retrieval.RetrievalRecall,
    HitRateAtN: torchmetrics.retrieval.RetrievalHitRate,
    NDCGAtN: torchmetrics.retrieval.RetrievalNormalizedDCG,
    MRRAtN: torchmetrics.retrieval.RetrievalMRR,
}
PER_METRIC = pytest.mark.parametrize("metric_class", METRICS)


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
@settings(max_examples=20, deadline=None)
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
@settings(max_examples=20, deadline=None)
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
@settings(max_examples=30, deadline=None)
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


def test_values_by_hand() -> None:
    ranks = torch.tensor([[1, 7, 30], [2, 0, 0]])
    expected = {
        RecallAtN: (1 / 6, 5 / 6),
        HitRateAtN: (1 / 2, 1.0),
        MRRAtN: (1 / 2, 3 / 4),
        NDCGAtN: (
            1 / 2,
            ((1 + 1 / 3) / (1 + 1 / math.log2(3) + 1 / 2) + 1 / math.log2(3)) / 2,
        ),
    }
    for metric_class, values in expected.items():
        metric = metric_class(ns=(1, 10))
        metric.update(ranks)
        assert [value.item() for value in metric.compute().values()] == pytest.approx(values, abs=1e-9)


@PER_METRIC
def test_masked_ranks_and_users_without_targets_do_not_count(metric_class: type[RankMetric]) -> None:
    plain = metric_class(ns=(2, 5))
    plain.update(torch.tensor([[3, 1], [4, 9]]))
    padded = metric_class(ns=(2, 5))
    padded.update(
        torch.tensor([[1, 3, 2, 1], [1, 1, 1, 1], [-5, 4, 9, 1]]),
        torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]]).bool(),
    )
    assert padded.compute() == plain.compute()
    assert padded.count == 2


@PER_METRIC
def test_rank_0_is_padding_with_and_without_mask(metric_class: type[RankMetric]) -> None:
    ranks = torch.tensor([[2, 0], [0, 0]])
    without, with_mask = metric_class(ns=(3,)), metric_class(ns=(3,))
    without.update(ranks)
    with_mask.update(ranks, torch.tensor([[True, True], [False, True]]))
    assert without.compute() == with_mask.compute()
    assert with_mask.count == 1


@PER_METRIC
def test_no_users_gives_zero(metric_class: type[RankMetric]) -> None:
    metric = metric_class(ns=(1, 2))
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(value == 0 for value in metric.compute().values())
    metric.reset()
    for empty in (torch.zeros(3, 2), torch.zeros(3, 0), torch.zeros(0, 2)):
        metric.update(empty.long())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(value == 0 for value in metric.compute().values())


@PER_METRIC
def test_batching_changes_nothing_and_forward_gives_the_batch_value(metric_class: type[RankMetric]) -> None:
    ranks = torch.randint(0, 40, (101, 4), generator=torch.Generator().manual_seed(0))
    whole, parts = metric_class(ns=(3, 20)), metric_class(ns=(3, 20))
    whole.update(ranks)
    for part in ranks.split(7):
        alone = metric_class(ns=(3, 20))
        alone.update(part)
        assert parts(part) == alone.compute()
    assert parts.compute() == whole.compute()
    whole.reset()
    assert whole.count == 0
    assert not whole.total.any()


@PER_METRIC
def test_a_metric_moves_in_and_out_of_inference_mode(metric_class: type[RankMetric]) -> None:
    ranks = torch.tensor([[1, 4], [30, 2]])
    metric = metric_class(ns=(3, 20))
    metric.update(ranks)
    expected = metric.compute()
    with torch.inference_mode():  # as Trainer.validate leaves it behind
        metric.reset()
    metric.update(ranks)
    assert metric.compute() == expected
    with torch.inference_mode():
        metric.update(ranks)
    metric.update(ranks)
    assert metric.count == 6
    assert metric.compute() == expected


@PER_METRIC
def test_precision_survives_conversion_of_the_model(metric_class: type[RankMetric]) -> None:
    model = torch.nn.Module()
    model.metric = metric_class(ns=(20,))
    ranks = torch.randint(1, 60, (1000, 3), generator=torch.Generator().manual_seed(1))
    model.metric.update(ranks)
    expected = model.metric.compute()
    for convert in (model.half, model.bfloat16, lambda: model.to("cpu", torch.float32)):
        convert()
        model.metric.reset()
        model.metric.update(ranks)
        assert model.metric.compute() == expected
    # devices without float64 hold the states too
    assert not any(state.is_floating_point() for state in model.metric.metric_state.values())


@PER_METRIC
def test_is_pickled_and_configurable(metric_class: type[RankMetric]) -> None:
    metric = pickle.loads(pickle.dumps(metric_class(ns=[50, 5])))
    assert metric.ns == (5, 50)
    assert metric_class().ns == (20, 50, 100, 200, 500)


@pytest.mark.parametrize(
    ("ns", "error"),
    [
        ((), ValueError),
        ((0, 5), ValueError),
        ((5, 5), ValueError),
        ((1.5,), TypeError),
        ((True,), TypeError),
        (20, TypeError),
        ("20", TypeError),
    ],
)
def test_wrong_cutoffs_are_named(ns: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^ns must .*got .*give distinct positive integers"):
        RecallAtN(ns=ns)  # type: ignore[arg-type]


def test_wrong_inputs_are_named() -> None:
    metric = RecallAtN()
    ranks = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"ranks must have shape \(B, T\), got \(2,\)"):
        metric.update(ranks[:, 0])
    with pytest.raises(TypeError, match=r"ranks must be integers, got torch\.float32"):
        metric.update(ranks.float())
    with pytest.raises(ValueError, match=r"mask must have the shape of ranks \(2, 3\), got \(2, 2\)"):
        metric.update(ranks, ranks[:, :2] > 0)
    with pytest.raises(TypeError, match=r"mask must be bool, got torch\.int64"):
        metric.update(ranks, ranks)


def compute_share(rank: int, world_size: int, ranks: Tensor, boundary: int) -> list[dict[str, float]]:
    share = ranks[:boundary] if rank == 0 else ranks[boundary:]
    results = []
    for metric_class in METRICS:
        metric = metric_class(ns=(1, 5, 20))
        for part in share.split(3):
            metric.update(part)
        results.append({name: value.item() for name, value in metric.compute().items()})
    return results


@pytest.mark.parametrize("boundary", [7, 11])
def test_is_exact_over_two_processes_with_unequal_shares(boundary: int) -> None:
    ranks = torch.randint(0, 30, (11, 4), generator=torch.Generator().manual_seed(2))
    single = []
    for metric_class in METRICS:
        metric = metric_class(ns=(1, 5, 20))
        metric.update(ranks)
        single.append({name: value.item() for name, value in metric.compute().items()})
    assert run_distributed(compute_share, 2, ranks, boundary) == [single, single]
