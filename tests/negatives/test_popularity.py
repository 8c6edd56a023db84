"""Popularity negatives: drawn by a power of their counts, and rare items as often as stated."""

import math

import pytest
import torch

from lightning_croloss import (
    PopularityNegatives,
)
from tests.negatives.cases import COUNTS, NUM_ITEMS, batch_with, counted


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, torch.float64])
def test_the_precision_of_the_model_does_not_touch_the_probabilities(precision):
    def draw(convert):
        torch.manual_seed(0)
        sampler = PopularityNegatives(20_000, exponent=1.0)
        sampler.set_num_items(1682)
        counts = torch.arange(1683)
        sampler.prepare(counts, counts)
        candidates = (sampler.to(precision) if convert else sampler).sample(batch_with([1]))
        return candidates.ids, candidates.log_prob

    for converted, untouched in zip(draw(True), draw(False), strict=True):
        assert torch.equal(converted, untouched)


def test_rare_items_of_a_large_catalogue_are_drawn_as_often_as_stated():
    torch.manual_seed(0)
    num_items, popular = 1_000_000, 10
    sampler = PopularityNegatives(1_000_000, exponent=1.0)
    sampler.set_num_items(num_items)
    counts = torch.zeros(num_items + 1, dtype=torch.long)
    counts[1 : popular + 1] = 100_000_000
    sampler.prepare(counts, counts)
    ids = sampler.sample(batch_with([1])).ids
    rare = ids[ids > popular]
    share = (num_items - popular) / (10 * 100_000_000 + num_items)
    assert abs(len(rare) - share * len(ids)) < 4 * math.sqrt(share * len(ids))
    # a sum in float32 steps over 60 of them at a time, so that only one in 60 would ever be drawn
    assert len(rare.unique()) > len(rare) - 5


def test_exponent_0_is_uniform():
    sampler = counted(PopularityNegatives(exponent=0.0))
    assert sampler.log_prob(torch.arange(1, NUM_ITEMS + 1)).tolist() == pytest.approx(
        [-math.log(NUM_ITEMS)] * NUM_ITEMS
    )


def test_popularity_follows_the_formula():
    sampler = counted(PopularityNegatives(exponent=0.5, smoothing=2.0))
    weights = [math.sqrt(count + 2.0) for count in COUNTS[1:].tolist()]
    found = sampler.log_prob(torch.arange(1, NUM_ITEMS + 1))
    assert found.tolist() == pytest.approx([math.log(weight / sum(weights)) for weight in weights], rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_negatives": 0}, "num_negatives must be at least 1"),
        ({"exponent": -1.0}, "exponent must be a number of at least 0"),
        ({"smoothing": 0.0}, "smoothing must be a positive number"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        PopularityNegatives(**arguments)


def test_another_catalogue_needs_its_counts():
    sampler = counted(PopularityNegatives(5))
    sampler.set_num_items(NUM_ITEMS + 1)
    with pytest.raises(RuntimeError, match="must see the training data first"):
        sampler.sample(batch_with([1, 2]))


@pytest.mark.parametrize(
    "changed",
    [
        PopularityNegatives(31),
        PopularityNegatives(30, exponent=1.5),
        PopularityNegatives(30, smoothing=50.0),
        PopularityNegatives(30, shared=False),
    ],
)
def test_arguments_change_the_draws(changed):
    draws = []
    for sampler in (PopularityNegatives(30), changed):
        torch.manual_seed(0)
        draws.append(counted(sampler).sample(batch_with([1, 3])).ids)
    assert draws[0].shape != draws[1].shape or not torch.equal(*draws)


@pytest.mark.parametrize(("exponent", "smoothing"), [(100.0, 1.0), (1e4, 1.0), (100.0, 1e-300)])
def test_a_large_exponent_draws_the_most_popular(exponent, smoothing):
    """The power itself is beyond float64, or below it."""
    sampler = PopularityNegatives(50, exponent, smoothing)
    sampler.set_num_items(3)
    for counts, expected in (([0, 2, 50_000, 30], [2]), ([0, 0, 0, 0], [1, 2, 3])):
        counts = torch.tensor(counts)
        sampler.prepare(counts, counts)
        ids = sampler.sample(batch_with([1])).ids
        assert set(ids.tolist()) == set(expected)
        log_prob = sampler.log_prob(torch.tensor(expected))
        torch.testing.assert_close(log_prob, torch.full((len(expected),), -math.log(len(expected))))
