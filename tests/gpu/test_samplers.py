"""Every sampler draws on the device, by the probabilities that it states."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives import (
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    Negatives,
    PopularityNegatives,
    UniformNegatives,
)
from tests.gpu.device import DEVICE, is_on_device, sized

pytestmark = pytest.mark.gpu

ITEMS, ROWS, DRAWS = 50, 64, sized(200_000, 20_000)
COUNTS = torch.arange(ITEMS + 1) ** 2
SHARED: dict[str, Callable[[], Negatives]] = {
    "uniform": lambda: UniformNegatives(DRAWS),
    "popularity": lambda: PopularityNegatives(DRAWS),
    "popularity 1": lambda: PopularityNegatives(DRAWS, exponent=1.0, smoothing=0.5),
    "mixed": lambda: MixedNegatives([UniformNegatives(DRAWS), PopularityNegatives(DRAWS // 2)]),
    "mixed with batch": lambda: MixedNegatives([InBatchNegatives(), UniformNegatives(DRAWS)]),
    "in batch": InBatchNegatives,
    "whole catalogue": FullCatalogNegatives,
}


def batch() -> RetrievalBatch:
    """Return a batch whose targets are as frequent as the counts say."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.multinomial(COUNTS.double(), ROWS, replacement=True, generator=generator)
    history = torch.randint(0, ITEMS + 1, (ROWS, 6), generator=generator)
    users = torch.arange(1, ROWS + 1)
    known = torch.randint(0, ITEMS + 1, (ROWS, 3), generator=generator)
    return RetrievalBatch(history, targets.unsqueeze(1), users, known_positives=known).to(DEVICE)


def prepared(build: Callable[[], Negatives]) -> Negatives:
    sampler = build()
    sampler.set_num_items(ITEMS)
    sampler.prepare(COUNTS, COUNTS)
    return sampler.to(DEVICE)


@pytest.mark.parametrize("name", SHARED)
def test_a_sample_is_on_the_device_with_the_probabilities_of_the_cpu(name: str) -> None:
    sampler = prepared(SHARED[name])
    found = sampler.sample(batch())
    assert is_on_device(found.ids)
    assert 1 <= int(found.ids.min()) <= int(found.ids.max()) <= ITEMS
    every = torch.arange(ITEMS + 1)
    stated = sampler.log_prob(every.to(DEVICE)).cpu()
    assert stated[0] == -math.inf
    assert float(stated.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    if found.log_prob is not None:
        torch.testing.assert_close(found.log_prob.cpu(), stated[found.ids.cpu()])
    # where the counts were never on the device
    other = SHARED[name]()
    other.set_num_items(ITEMS)
    other.prepare(COUNTS, COUNTS)
    there = batch().to("cpu")
    other.sample(there)
    torch.testing.assert_close(stated, other.log_prob(every))


@pytest.mark.parametrize("name", [name for name in SHARED if name not in ("in batch", "whole catalogue")])
def test_draws_are_as_frequent_as_stated(name: str) -> None:
    sampler = prepared(SHARED[name])
    drawn = sampler.sample(batch()).ids.cpu()
    expected = sampler.log_prob(torch.arange(ITEMS + 1, device=DEVICE)).cpu().exp().double() * len(drawn)
    surplus = torch.bincount(drawn, minlength=ITEMS + 1) - expected
    deviations = surplus[1:] / expected[1:].clamp(min=1.0).sqrt()
    limit = 5.0 if "batch" not in name else 12.0  # the batch itself is one draw of its targets
    assert float(deviations.abs().max()) < limit


@pytest.mark.parametrize("build", [UniformNegatives, PopularityNegatives])
def test_draws_of_each_row(build: type[Negatives]) -> None:
    sampler = prepared(lambda: build(9, shared=False, exclude_known_positives=True))
    given = batch()
    found = sampler.sample(given)
    assert found.ids.shape == (ROWS, 9)
    assert len(found.ids.unique(dim=0)) > ROWS // 2
    assert found.excluded_ids is given.known_positives


@pytest.mark.parametrize("name", ["uniform", "popularity", "mixed"])
def test_the_seed_decides(name: str) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(prepared(SHARED[name]).sample(batch()).ids)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
