"""Uniform negatives: every item alike, anew each time."""

import inspect

import pytest
import torch
from scipy.stats import chisquare

from lightning_croloss import UniformNegatives
from lightning_croloss.negatives import Candidates
from tests.negatives.cases import batch_of, ready


@pytest.mark.parametrize("shared", [True, False])
def test_uniform_draws_every_item_alike(shared):
    torch.manual_seed(0)
    ids = ready(UniformNegatives(20_000, shared), num_items=7).sample(batch_of(2)).ids
    assert ids.shape == ((20_000,) if shared else (2, 20_000))
    assert ids.dtype == torch.int64
    for draws in ids.reshape(-1, 20_000):
        counts = torch.bincount(draws, minlength=8)
        assert counts.shape == (8,)
        assert counts[0] == 0
        assert chisquare(counts[1:]).pvalue > 0.001
    if not shared:
        assert not torch.equal(*ids)


def test_uniform_draws_anew_each_time_from_the_global_generator():
    sampler, batch = ready(UniformNegatives(50)), batch_of()
    torch.manual_seed(1)
    first, second = sampler.sample(batch).ids, sampler.sample(batch).ids
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(sampler.sample(batch).ids, first)


def test_uniform_needs_no_correction():
    candidates = ready(UniformNegatives(9)).sample(batch_of())
    assert candidates == Candidates(candidates.ids)


@pytest.mark.parametrize("number", [0, -3])
def test_uniform_refuses_to_draw_nothing(number):
    with pytest.raises(ValueError, match=f"num_negatives must be at least 1, got {number}"):
        UniformNegatives(number)


def test_every_argument_of_uniform_changes_the_draws():
    start = {"num_negatives": 5, "shared": True, "exclude_known_positives": False}
    changed = {"num_negatives": 6, "shared": False, "exclude_known_positives": True}
    assert start.keys() == changed.keys() == inspect.signature(UniformNegatives).parameters.keys()

    def draw(**arguments):
        torch.manual_seed(0)
        batch = batch_of(known_positives=torch.tensor([[1], [2], [3], [4]]))
        candidates = ready(UniformNegatives(**arguments)).sample(batch)
        return candidates.ids.tolist(), candidates.excluded_ids is None

    for name, value in changed.items():
        assert draw(**{**start, name: value}) != draw(**start), name
