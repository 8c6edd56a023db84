"""A training step asks an accelerator for no value and no size: it is made on tensors that have none.

What a device without values cannot tell, a device with a queue would have to be waited for: ``.item()``,
``float(tensor)``, ``nonzero``, a mask as an index.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

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
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.data.target_counts import places_of
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.negatives import Negatives
from tests.data_for_tests import fit
from tests.gpu.architectures import ARCHITECTURES, ITEMS, build, data
from tests.losses.variations import VARIATIONS

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
    if name not in ("n", "num_items", "expected_recall", "by_rule", "fused", "refresh_epochs")
}


@pytest.fixture(autouse=True)
def autocast_of_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no autocast for tensors without values; it would do nothing here anyway."""
    real = torch.autocast

    def autocast(device_type: str, **kwargs: Any) -> Any:
        return contextlib.nullcontext() if device_type == "meta" else real(device_type, **kwargs)

    monkeypatch.setattr(torch, "autocast", autocast)


def step_without_values(model: RetrievalModel) -> None:
    """Prepare a model by a step on the CPU, and make one more where tensors have no values."""
    module = data()
    fit(model, module, limit_train_batches=1, limit_val_batches=0)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    model.to("meta").train()
    for parameter in model.parameters():
        parameter.grad = None
    loss = model.loss_of(batch.to("meta"))
    assert loss.device.type == "meta"
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.ndim > 1)


# the tiled path still lists the pairs that it ignores, and sparse gradients add up equal rows: both wait
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_architecture_waits(name: str) -> None:
    step_without_values(build(name))


@pytest.mark.parametrize("negatives", SAMPLERS.values(), ids=SAMPLERS)
def test_no_sampler_waits(negatives: Negatives) -> None:
    step_without_values(build("YouTubeDNN", negatives=negatives, loss=CROLoss(fused=False)))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_no_loss_waits(loss: RetrievalLoss) -> None:
    step_without_values(YouTubeDNN(ITEMS, 8, loss=loss, negatives=UniformNegatives(8), ns=(5,)))


def test_a_wait_would_be_found() -> None:
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
