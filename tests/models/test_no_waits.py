"""A training step asks an accelerator for no value and no size: it is made on tensors that have none.

What a device without values cannot tell, a device with a queue would have to be waited for: ``.item()``,
``float(tensor)``, ``nonzero``, a mask as an index. Copies from the host, which wait too, are counted, and
whatever else ``tests/waits.py`` knows. A step is the loss, its gradients, their clipping and the optimizer's.

What still waits, and is not here:

* values that are logged, and the guard against NaN with them: every ``log_every_n_steps`` steps;
* a ``GradScaler`` (16-mixed), which asks whether gradients are finite; PyTorch's own;
* several processes with sparse gradients: the hosts must know how many rows to receive, once a step; and
  tables in shards, whose every look-up exchanges rows;
* several processes of the command line, which ask about once a second whether one was told to end;
* SL@K with thresholds that are kept, in a loop that does not tell the loss ``num_users``;
* the first steps, which bring what stays to the device, and look at the scores for mistakes;
* a batch that was not pinned before (a loader of one's own);
* exact evaluation, a few times in each batch: it checks ids, and ranks only as many pairs as there are.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import pytest
import torch

from croloss_serving.common import blocks
from lightning_croloss import (
    CROLoss,
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    RetrievalModel,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.data.target_counts import places_of
from lightning_croloss.losses import IMPORTANCES, RetrievalLoss
from lightning_croloss.losses.batches.item_counts import ItemCounts
from lightning_croloss.losses.fused.plan import Tiling
from lightning_croloss.losses.user_thresholds import UserThresholds
from lightning_croloss.metrics import RankMetrics
from lightning_croloss.models import bert4rec
from lightning_croloss.negatives import Negatives
from tests.data_for_tests import EventData, fit
from tests.gpu.architectures import ARCHITECTURES, ITEMS, build, data
from tests.losses.variations import VARIATIONS
from tests.waits import Waits

SAMPLERS: dict[str, Negatives] = {
    "uniform": UniformNegatives(8),
    "a draw a row": UniformNegatives(8, shared=False),
    "known positives left out": UniformNegatives(8, exclude_known_positives=True),
    "popularity": PopularityNegatives(8),
    "in batch": InBatchNegatives(),
    "mixed": MixedNegatives([InBatchNegatives(), UniformNegatives(8)]),
    "whole catalogue": FullCatalogNegatives(),
    "whole catalogue, known positives left out": FullCatalogNegatives(True),
}
LOSSES: dict[str, RetrievalLoss] = {
    f"{cls.__name__}, {name}": cls(**{**start, name: value})
    for cls, (start, values) in VARIATIONS.items()
    if issubclass(cls, RetrievalLoss)
    for name, value in values.items()
    if name not in ("n", "num_items", "expected_recall", "by_rule", "fused")
}
LOSSES |= {
    f"CROLoss, {name} importance": CROLoss(importance=importance(**VARIATIONS[importance][0]))
    for name, importance in IMPORTANCES.items()
}


@pytest.fixture(autouse=True)
def autocast_of_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no autocast for tensors without values; it would do nothing here anyway."""
    real = torch.autocast

    def autocast(device_type: str, **kwargs: Any) -> Any:
        return contextlib.nullcontext() if device_type == "meta" else real(device_type, **kwargs)

    monkeypatch.setattr(torch, "autocast", autocast)


@functools.cache
def prepared() -> EventData:
    """Return the data, made once."""
    return data()


@pytest.fixture(autouse=True)
def batches_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent from pinned memory does not wait; without an accelerator there is no such memory."""
    monkeypatch.setattr(bert4rec, "sent", lambda values, device: values.to(device, non_blocking=True))


def step_without_values(model: RetrievalModel, sparse: bool = False) -> None:
    """Prepare a model by a step on the CPU, and make one more where tensors have no values."""
    module = prepared()
    fit(model, module, limit_train_batches=1, limit_val_batches=0)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    model.to("meta").train()
    model._optimization.set_sparse(model.id_embeddings(), sparse)
    optimizer = model.configure_optimizers()
    moved = batch.to("meta")
    for _ in range(2):  # the first brings what stays to the device
        with Waits() as waits:
            optimizer.zero_grad()
            loss = model.loss_of(moved)
            assert loss.device.type == "meta"
            loss.backward()
            model._finite.check(loss, 1, wait=False)
            for algorithm in ("norm", "value"):
                model.configure_gradient_clipping(optimizer, 0.5, algorithm)
            optimizer.step()
    assert waits.found == {}
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.ndim > 1)
    assert any(parameter.grad.is_sparse for parameter in model.parameters()) == sparse


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_architecture_waits(name: str) -> None:
    step_without_values(build(name), sparse="sparse" in name)


@pytest.mark.parametrize("negatives", SAMPLERS.values(), ids=SAMPLERS)
def test_no_sampler_waits(negatives: Negatives) -> None:
    step_without_values(build("YouTubeDNN", negatives=negatives, loss=CROLoss(fused=False)))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_no_loss_waits(loss: RetrievalLoss) -> None:
    step_without_values(YouTubeDNN(ITEMS, 8, loss=loss, negatives=UniformNegatives(8), ns=(5,)))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("as_lists", [False, True])
def test_no_known_positives_wait(fused: bool, as_lists: bool) -> None:
    """Also where rows are so long that the ids come as lists, and over several tiles."""
    known = torch.zeros(70, 5, dtype=torch.long)
    loss = CROLoss(num_items=20_000, fused=fused)
    excluded = (ItemLists.of_padded(known + 1) if as_lists else known).to("meta")
    users, positives = (torch.zeros(70, 2, 4, device="meta", requires_grad=True) for _ in range(2))
    candidates = torch.zeros(20_000, 4, device="meta", requires_grad=True)
    ids = torch.zeros(70, 2, dtype=torch.long, device="meta")
    tiling = Tiling(64, 8192)
    for _ in range(2):
        with Waits() as waits, pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tiling, "choose", lambda users, candidates: tiling)
            patch.setattr(blocks, "MOST_ENTRIES", 100)  # so that rows of lists stay lists
            loss.from_embeddings(
                users,
                positives,
                candidates,
                target_ids=ids,
                candidate_ids=torch.zeros(20_000, dtype=torch.long, device="meta"),
                excluded_ids=excluded,
            ).backward()
    assert waits.found == {}


def test_no_metric_waits() -> None:
    metrics = RankMetrics((5, 20)).to("meta")
    ranks = torch.zeros(8, 3, dtype=torch.long, device="meta")
    with Waits() as waits:
        metrics.update(ranks, ranks > 0)
        metrics.few.update(ranks, 40)
    assert waits.found == {}


@pytest.mark.parametrize("name", ["YouTubeDNN", "SASRec, all positions", "BERT4Rec"])
def test_autocast_adds_no_wait(name: str) -> None:
    """It has nothing to do with tensors without values: the step of a CPU asks for the same either way."""
    model, module = build(name), prepared()
    fit(model, module, limit_train_batches=1, limit_val_batches=0)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    asked = []
    for enabled in (False, False, True):
        with Waits(on_cpu=True) as waits, torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            model.loss_of(batch).backward()
        asked.append(set(waits.found))
    assert asked[2] <= asked[1]


def test_a_wait_would_be_found() -> None:
    with Waits(on_cpu=True) as waits:
        UserThresholds().kept(torch.tensor([1, 2]), torch.zeros(2), 0, 1)
    assert [what for what, _ in waits.found] == ["_local_scalar_dense"]
    with Waits() as waits:
        ItemCounts().of([0, 1, 2], torch.device("meta"))
    assert len(waits.found) == 1  # a copy
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.zeros(1, device="meta").sum())
    with pytest.raises(NotImplementedError, match="nonzero"):
        torch.zeros(2, device="meta").nonzero()


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2)])
def test_counted_targets_are_found_where_they_are(shape: tuple[int, ...]) -> None:
    targets = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0))
    if len(shape) == 3:  # filled from the left
        targets = targets.sort(-1, descending=True).values
    moved = RetrievalBatch(torch.ones(3, 4), targets, torch.arange(3)).to("meta")
    counts = moved.target_counts
    assert counts is not None
    there = (targets if len(shape) == 2 else targets[..., 0]) != 0
    assert (counts.positions, counts.total) == (int(there.sum()), int((targets != 0).sum()))
    rows, columns = places_of(there.to("meta"), counts.positions)
    assert rows.shape == columns.shape == (counts.positions,)
    static = torch.nonzero_static(there, size=counts.positions)  # what it is where there are values
    assert torch.equal(static, there.nonzero())
    moved.targets = moved.targets.clone()
    assert moved.target_counts is None  # others have not been counted
    assert moved.select(torch.arange(2, device="meta")).target_counts is None
