"""Draws agree with the stated probabilities, and the correction gives back the whole catalogue's rank."""

import math

import pytest
import torch
from scipy.stats import chisquare

from lightning_croloss import (
    CROLoss,
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    UniformNegatives,
)
from tests.negatives.cases import COUNTS, NUM_ITEMS, batch_with, counted, popular_targets

SAMPLERS = {
    "uniform": lambda: UniformNegatives(40),
    "popularity": lambda: PopularityNegatives(40, exponent=0.5),
    "popularity, by row": lambda: PopularityNegatives(40, shared=False),
    "uniform and popularity": lambda: MixedNegatives(
        [UniformNegatives(15), PopularityNegatives(25, exponent=1.0)]
    ),
    "in-batch and uniform": lambda: MixedNegatives([InBatchNegatives(), UniformNegatives(20)]),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_frequencies_agree_with_the_probabilities(name):
    torch.manual_seed(0)
    sampler = counted(SAMPLERS[name]())
    counts = torch.zeros(NUM_ITEMS + 1)
    for _ in range(400):
        ids = sampler.sample(batch_with(popular_targets(21))).ids.reshape(-1)
        counts += torch.bincount(ids, minlength=NUM_ITEMS + 1)
    if "in-batch" in name:  # each row's own target is among the ids, but is no draw
        density = torch.cat([COUNTS[:1], COUNTS / COUNTS.sum() * 21 / 41])[1:] + 20 / 41 / NUM_ITEMS
        expected = density[1:]
    else:
        expected = sampler.log_prob(torch.arange(1, NUM_ITEMS + 1)).exp()
    assert float(expected.sum()) == pytest.approx(1.0, abs=1e-6)
    assert counts[0] == 0
    frequencies = expected.double() / expected.double().sum() * counts.sum().double()
    assert chisquare(counts[1:].double(), frequencies).pvalue > 1e-3


def test_padding_is_never_drawn():
    for make in SAMPLERS.values():
        sampler = counted(make())
        sampler.sample(batch_with([1, 3]))
        assert float(sampler.log_prob(torch.zeros(1, dtype=torch.long)).exp()) == 0.0


@pytest.mark.parametrize("name", [*SAMPLERS, "in-batch"])
def test_the_corrected_rank_is_that_of_the_whole_catalogue_in_the_mean(name):
    torch.manual_seed(1)
    sampler = counted(SAMPLERS[name]() if name in SAMPLERS else InBatchNegatives())
    loss = CROLoss(num_items=NUM_ITEMS, rank_scaling="unbiased", temperature=0.5)
    scores = torch.randn(NUM_ITEMS + 1, dtype=torch.float64)
    if name == "in-batch":
        scores[2] = -100.0  # the item that is no training target cannot be drawn: it must not matter
    target = 3
    ids = FullCatalogNegatives()
    ids.set_num_items(NUM_ITEMS)
    whole = ids.sample(batch_with([target])).ids
    exact = float(
        loss.soft_rank(scores[target].view(1), scores[whole].view(1, -1), negative_mask=whole == target)
    )
    ranks = []
    for _ in range(3000):
        targets = torch.cat([torch.tensor([target]), popular_targets(20)])
        candidates = sampler.sample(batch_with(targets))
        drawn = candidates.ids if candidates.ids.dim() == 1 else candidates.ids[0]
        log_prob = candidates.log_prob
        log_prob = log_prob if log_prob is None or log_prob.dim() == 1 else log_prob[0]
        rank = loss.soft_rank(
            scores[target].view(1),
            scores[drawn].view(1, -1),
            negative_mask=drawn == target,
            negative_log_prob=log_prob,
            num_sampled=candidates.num_sampled,
        )
        ranks.append(float(rank))
    ranks = torch.tensor(ranks)
    assert abs(float(ranks.mean()) - exact) < 4 * float(ranks.std()) / math.sqrt(len(ranks))
