"""Samplers that draw by the counts of the training data."""

import pytest
import torch

from lightning_croloss import InBatchNegatives, MixedNegatives, PopularityNegatives
from tests.negatives.cases import COUNTS, NUM_ITEMS, batch_with


@pytest.mark.parametrize(
    ("counts", "target_counts", "message"),
    [
        (COUNTS[:5], COUNTS, r"item_counts must be \(num_items \+ 1,\) with num_items=12, got \(5,\)"),
        (COUNTS, COUNTS[1:], r"target_counts must be \(num_items \+ 1,\) with num_items=12, got \(12,\)"),
        (COUNTS, torch.zeros_like(COUNTS), "target_counts must hold at least one training target"),
    ],
)
def test_counts_of_something_else_are_refused(counts, target_counts, message):
    sampler = MixedNegatives([PopularityNegatives(3), InBatchNegatives()])
    sampler.set_num_items(NUM_ITEMS)
    with pytest.raises(ValueError, match=message):
        sampler.prepare(counts, target_counts)


@pytest.mark.parametrize("sampler", [PopularityNegatives(5), InBatchNegatives()])
def test_the_training_data_must_be_seen_first(sampler):
    sampler.set_num_items(NUM_ITEMS)
    with pytest.raises(RuntimeError, match=f"{type(sampler).__name__} must see the training data first"):
        sampler.sample(batch_with([1, 2]))
