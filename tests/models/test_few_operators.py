"""A small model's step is mostly the calls of operators: how many they are, and that none is repeated.

The numbers of calls are those of today and a few more, for another version of PyTorch.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_croloss import CROLoss, FullCatalogNegatives, SoftmaxLoss
from lightning_croloss.losses.batches import accidental_hits
from tests.data_for_tests import ClusteredData, fit, small_model


class Calls(TorchDispatchMode):
    """Counts the calls of operators."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("loss", [SoftmaxLoss, CROLoss])
def test_a_step_over_all_items_calls_few_operators(loss):
    model = small_model(negatives=FullCatalogNegatives(), loss=loss(fused=True), similarity="dot")
    trainer = fit(model, ClusteredData(batch_size=32), max_steps=2)
    batch = next(iter(trainer.train_dataloader))
    model.train()
    model.loss_of(batch).backward()
    with Calls() as calls:
        model.loss_of(batch).backward()
    assert calls.number <= 185


def test_a_batch_is_loaded_by_few_operators():
    data = ClusteredData(batch_size=32)
    trainer = fit(small_model(), data, max_steps=1)
    rows = trainer.train_dataloader.dataset
    rows.__getitems__(torch.arange(32))
    with Calls() as calls:
        rows.__getitems__(torch.arange(32)).to("cpu")
    assert calls.number <= 24


def test_the_ids_of_the_catalogue_are_never_compared_in_a_fit(monkeypatch):
    find, asked = accidental_hits._find_first, []
    monkeypatch.setattr(accidental_hits, "_find_first", lambda ids: asked.append(1) or find(ids))
    model = small_model(negatives=FullCatalogNegatives(), loss=SoftmaxLoss(fused=True))
    fit(model, ClusteredData(), max_epochs=2)
    assert not asked
    assert model._row_ids._ids is None  # given back
