"""The full catalogue as negatives."""

import copy
import functools

import pytest
import torch
from torch.nn import functional

from lightning_croloss import FullCatalogNegatives, SoftmaxLoss
from lightning_croloss.negatives import Candidates, WholeCatalogue
from tests.data_for_tests import fit, small_model
from tests.negatives.cases import Steps, batch_of, ready


def test_the_full_catalogue_is_every_item_in_order():
    candidates = ready(FullCatalogNegatives(), num_items=6).sample(batch_of())
    assert candidates.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert candidates.whole_catalogue
    assert (candidates.log_prob, candidates.excluded_ids, candidates.num_sampled) == (None, None, None)


def test_nobody_lists_the_ids_who_does_not_ask_for_them():
    sampler = FullCatalogNegatives()
    sampler.set_num_items(10**15)  # whose ids are 8 petabytes
    candidates = sampler.sample(batch_of())
    assert candidates.whole_catalogue
    assert isinstance(candidates, Candidates)
    few = WholeCatalogue(3, torch.device("cpu"), torch.zeros(3))
    assert few.ids is few.ids
    assert few.log_prob.tolist() == [0, 0, 0]


def test_full_catalogue_softmax_training_is_cross_entropy_over_all_items():
    sgd = functools.partial(torch.optim.SGD, lr=0.5)
    model = small_model(loss=SoftmaxLoss(0.2), negatives=FullCatalogNegatives(), optimizer=sgd)
    naive, steps = copy.deepcopy(model), Steps()
    trainer = fit(model, callbacks=[steps], limit_train_batches=1)

    (batch,) = steps.batches
    logits = naive.encode_users(batch)[:, 0] @ naive.encode_items(None).T / 0.2
    expected = functional.cross_entropy(logits, batch.targets[:, 0] - 1)
    expected.backward()
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(expected.item(), rel=1e-5)
    for trained, parameter in zip(model.parameters(), naive.parameters(), strict=True):
        assert parameter.grad.any()
        assert torch.allclose(trained, parameter - 0.5 * parameter.grad, atol=1e-6)
