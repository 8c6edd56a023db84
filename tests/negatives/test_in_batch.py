"""In-batch negatives: the targets of the other rows."""

import warnings

import pytest
import torch

from lightning_croloss import BPRLoss, CROLoss, InBatchNegatives, SoftmaxLoss, TripletLoss
from tests.data_for_tests import small_model
from tests.negatives.cases import COUNTS, NUM_ITEMS, batch_with, counted, popular_targets


def test_in_batch_is_the_share_of_the_targets_and_the_own_target_is_no_draw():
    sampler = counted(InBatchNegatives())
    candidates = sampler.sample(batch_with([1, 6, 6, 12]))
    assert candidates.ids.tolist() == [1, 6, 6, 12]
    assert candidates.num_sampled == 3
    shares = COUNTS[torch.tensor([1, 6, 6, 12])] / COUNTS.sum()
    assert candidates.log_prob.tolist() == pytest.approx(shares.log().tolist())


@pytest.mark.parametrize("loss", [CROLoss(), CROLoss("exp"), SoftmaxLoss(), BPRLoss(), TripletLoss()])
@pytest.mark.parametrize("targets", [[3], [3, 3, 3]], ids=["alone", "all the same"])
def test_rows_without_a_negative_in_the_batch_do_not_train(loss, targets):
    model = small_model(num_items=NUM_ITEMS, negatives=InBatchNegatives(), loss=loss, ns=(5,))
    model.negatives.prepare(COUNTS, COUNTS)
    value = model.loss_of(batch_with(targets))
    value.backward()
    assert bool(torch.isfinite(value))
    assert not any(parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


def test_a_batch_larger_than_the_catalogue_is_told_once_what_is_better():
    model = small_model(num_items=NUM_ITEMS, negatives=InBatchNegatives(), ns=(5,))
    model.negatives.prepare(COUNTS, COUNTS)
    batch = batch_with(popular_targets(20))
    with pytest.warns(UserWarning, match="out of 12 items: FullCatalogNegatives costs less"):
        model.loss_of(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.loss_of(batch)


@pytest.mark.parametrize("loss", [CROLoss(), SoftmaxLoss(), BPRLoss()])
def test_a_target_that_was_not_counted_is_no_negative(loss):
    """No correction can make up for a draw of probability 0: the loss would be that item alone."""
    model = small_model(num_items=NUM_ITEMS, negatives=InBatchNegatives(), loss=loss, ns=(5,))
    model.negatives.prepare(COUNTS, COUNTS)
    with pytest.warns(UserWarning, match="item 2 is a target of a batch, but none of the targets"):
        found = model.negatives.sample(batch_with([1, 2, 6]))
    assert found.ids.tolist() == [1, 0, 6]
    assert found.num_sampled == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = model.loss_of(batch_with([1, 2, 6]))
    assert float(value) < 10
