"""What all metrics of ranks share: masks, batches, precision, several processes, mistakes."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from lightning_croloss.metrics import RankMetric, RecallAtN
from tests.distributed import run_distributed
from tests.metrics.cases import METRICS, PER_METRIC


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
        ((1, 2**64), ValueError),
    ],
)
def test_wrong_cutoffs_are_named(ns: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^ns must .*got .*give distinct positive integers"):
        RecallAtN(ns=ns)  # type: ignore[arg-type]


def test_cutoffs_that_can_be_read_only_once_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^ns must be a sequence of integers"):
        RecallAtN(ns=(n for n in (1, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@PER_METRIC
def test_ranks_of_every_integer_type(metric_class: type[RankMetric], dtype: str) -> None:
    ranks = torch.tensor([[1, 127, 100], [2, 0, 0], [0, 0, 0]])
    plain, narrow = metric_class(ns=(5, 110, 1000)), metric_class(ns=(5, 110, 1000))
    for mask in (None, ranks > 1):
        plain.update(ranks, mask)
        narrow.update(ranks.to(getattr(torch, dtype)), mask)
    assert narrow.compute() == plain.compute()


def test_wrong_inputs_are_named() -> None:
    metric = RecallAtN()
    ranks = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"ranks must have shape \(B, T\), got \(2,\)"):
        metric.update(ranks[:, 0])
    for nothing in (None, [[1, 2]], ranks.numpy()):
        kind = type(nothing).__name__
        with pytest.raises(TypeError, match=rf"^ranks must be a tensor \(B, T\) of integers, got {kind}:"):
            metric.update(nothing)
        if nothing is not None:
            with pytest.raises(TypeError, match=rf"^mask must be a tensor \(B, T\) of bool, got {kind}:"):
                metric.update(ranks, nothing)
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
    collection = MetricCollection([metric_class(ns=(1, 5, 20)) for metric_class in METRICS])
    for part in share.split(3):
        collection.update(part)
    results.append({name: value.item() for name, value in collection.compute().items()})
    return results


@pytest.mark.parametrize("boundary", [7, 11])
@pytest.mark.slow
def test_is_exact_over_two_processes_with_unequal_shares(boundary: int) -> None:
    ranks = torch.randint(0, 30, (11, 4), generator=torch.Generator().manual_seed(2))
    single = []
    for metric_class in METRICS:
        metric = metric_class(ns=(1, 5, 20))
        metric.update(ranks)
        single.append({name: value.item() for name, value in metric.compute().items()})
    single.append({name: value for values in single for name, value in values.items()})
    assert run_distributed(compute_share, 2, ranks, boundary) == [single, single]
