"""Mixtures of samplers: one density of all parts."""

import math

import pytest
import torch

from lightning_croloss import (
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    UniformNegatives,
)
from lightning_croloss.configurable import to_config
from tests.negatives.cases import COUNTS, NUM_ITEMS, batch_with, counted


def test_a_part_given_twice_draws_twice():
    part = UniformNegatives(5)
    candidates = counted(MixedNegatives([part, part])).sample(batch_with([1]))
    assert candidates.ids.shape == (10,)
    assert candidates.log_prob.tolist() == pytest.approx([-math.log(NUM_ITEMS)] * 10)


def test_a_mixture_corrects_each_draw_by_the_density_of_all_parts():
    sampler = counted(
        MixedNegatives([UniformNegatives(10), PopularityNegatives(30, exponent=1.0, smoothing=1.0)])
    )
    candidates = sampler.sample(batch_with([1]))
    assert candidates.ids.shape == (40,)
    assert candidates.num_sampled == 40
    popular = (COUNTS + 1) / (COUNTS[1:] + 1).sum()
    expected = [math.log(0.25 / NUM_ITEMS + 0.75 * float(popular[item])) for item in candidates.ids.tolist()]
    assert candidates.log_prob.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": [UniformNegatives(3)]}, "at least two parts, got 1"),
        ({"parts": [UniformNegatives(3), FullCatalogNegatives()]}, "use it alone"),
        (
            {"parts": [UniformNegatives(3), UniformNegatives(3, shared=False)]},
            "share their draws",
        ),
        (
            {"parts": [UniformNegatives(3), InBatchNegatives(exclude_known_positives=True)]},
            "set exclude_known_positives of MixedNegatives",
        ),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixedNegatives(**arguments)


def test_parts_must_be_samplers():
    with pytest.raises(TypeError, match="parts of a mixture are samplers of negatives, got 'uniform'"):
        MixedNegatives([UniformNegatives(3), "uniform"])


def test_the_density_of_a_mixture_needs_a_sample():
    with pytest.raises(RuntimeError, match="sample first"):
        counted(MixedNegatives([UniformNegatives(3), UniformNegatives(4)])).log_prob(torch.tensor([1]))


def test_arguments_change_the_draws():
    base = MixedNegatives([UniformNegatives(10), UniformNegatives(20)])
    changed = MixedNegatives([UniformNegatives(10), PopularityNegatives(20)])
    draws = []
    for sampler in (base, changed):
        torch.manual_seed(0)
        draws.append(counted(sampler).sample(batch_with([1, 3])).ids)
    assert draws[0].shape != draws[1].shape or not torch.equal(*draws)


def test_a_mixture_is_configured_with_its_parts():
    config = to_config(MixedNegatives([UniformNegatives(3), PopularityNegatives(4, exponent=1.0)]))
    parts = config["init_args"]["parts"]
    assert [part["class_path"].split(".")[-1] for part in parts] == [
        "UniformNegatives",
        "PopularityNegatives",
    ]
    assert parts[1]["init_args"]["exponent"] == 1.0
