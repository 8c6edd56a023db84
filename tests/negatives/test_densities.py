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
from lightning_croloss.configurable import to_config
from lightning_croloss.data import RetrievalBatch

NUM_ITEMS = 12
COUNTS = torch.tensor([0, 50, 0, 3, 7, 1, 20, 20, 2, 9, 4, 11, 30])  # item 2 was never seen


def batch_with(targets):
    targets = torch.as_tensor(targets)
    history = torch.zeros(len(targets), 1, dtype=torch.long)
    return RetrievalBatch(history, targets=targets.unsqueeze(1), users=torch.ones_like(targets))


def ready(sampler):
    sampler.set_num_items(NUM_ITEMS)
    sampler.prepare(COUNTS, COUNTS)
    return sampler


def popular_targets(rows):
    """Draw targets as training does: each as often as it is a target."""
    return torch.multinomial(COUNTS.double(), rows, replacement=True)


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
    sampler = ready(SAMPLERS[name]())
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
        sampler = ready(make())
        sampler.sample(batch_with([1, 3]))
        assert float(sampler.log_prob(torch.zeros(1, dtype=torch.long)).exp()) == 0.0


def test_popularity_follows_the_formula():
    sampler = ready(PopularityNegatives(exponent=0.5, smoothing=2.0))
    weights = [math.sqrt(count + 2.0) for count in COUNTS[1:].tolist()]
    found = sampler.log_prob(torch.arange(1, NUM_ITEMS + 1))
    assert found.tolist() == pytest.approx([math.log(weight / sum(weights)) for weight in weights], rel=1e-5)


def test_in_batch_is_the_share_of_the_targets_and_the_own_target_is_no_draw():
    sampler = ready(InBatchNegatives())
    candidates = sampler.sample(batch_with([1, 6, 6, 12]))
    assert candidates.ids.tolist() == [1, 6, 6, 12]
    assert candidates.num_sampled == 3
    shares = COUNTS[torch.tensor([1, 6, 6, 12])] / COUNTS.sum()
    assert candidates.log_prob.tolist() == pytest.approx(shares.log().tolist())


def test_a_mixture_corrects_each_draw_by_the_density_of_all_parts():
    sampler = ready(
        MixedNegatives([UniformNegatives(10), PopularityNegatives(30, exponent=1.0, smoothing=1.0)])
    )
    candidates = sampler.sample(batch_with([1]))
    assert candidates.ids.shape == (40,)
    assert candidates.num_sampled == 40
    popular = (COUNTS + 1) / (COUNTS[1:] + 1).sum()
    expected = [math.log(0.25 / NUM_ITEMS + 0.75 * float(popular[item])) for item in candidates.ids.tolist()]
    assert candidates.log_prob.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [*SAMPLERS, "in-batch"])
def test_the_corrected_rank_is_that_of_the_whole_catalogue_in_the_mean(name):
    torch.manual_seed(1)
    sampler = ready(SAMPLERS[name]() if name in SAMPLERS else InBatchNegatives())
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


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (PopularityNegatives, {"num_negatives": 0}, "num_negatives must be at least 1"),
        (PopularityNegatives, {"exponent": -1.0}, "exponent must be a number of at least 0"),
        (PopularityNegatives, {"smoothing": 0.0}, "smoothing must be a positive number"),
        (MixedNegatives, {"parts": [UniformNegatives(3)]}, "at least two parts, got 1"),
        (MixedNegatives, {"parts": [UniformNegatives(3), FullCatalogNegatives()]}, "use it alone"),
        (
            MixedNegatives,
            {"parts": [UniformNegatives(3), UniformNegatives(3, shared=False)]},
            "share their draws",
        ),
        (
            MixedNegatives,
            {"parts": [UniformNegatives(3), InBatchNegatives(exclude_known_positives=True)]},
            "set exclude_known_positives of MixedNegatives",
        ),
    ],
)
def test_arguments_out_of_range(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)


@pytest.mark.parametrize("sampler", [PopularityNegatives(5), InBatchNegatives()])
def test_the_training_data_must_be_seen_first(sampler):
    sampler.set_num_items(NUM_ITEMS)
    with pytest.raises(RuntimeError, match=f"{type(sampler).__name__} must see the training data first"):
        sampler.sample(batch_with([1, 2]))


def test_the_density_of_a_mixture_needs_a_sample():
    with pytest.raises(RuntimeError, match="sample first"):
        ready(MixedNegatives([UniformNegatives(3), UniformNegatives(4)])).log_prob(torch.tensor([1]))


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        (PopularityNegatives(30), PopularityNegatives(31)),
        (PopularityNegatives(30), PopularityNegatives(30, exponent=1.5)),
        (PopularityNegatives(30), PopularityNegatives(30, smoothing=50.0)),
        (PopularityNegatives(30), PopularityNegatives(30, shared=False)),
        (
            MixedNegatives([UniformNegatives(10), UniformNegatives(20)]),
            MixedNegatives([UniformNegatives(10), PopularityNegatives(20)]),
        ),
    ],
)
def test_arguments_change_the_draws(base, changed):
    draws = []
    for sampler in (base, changed):
        torch.manual_seed(0)
        draws.append(ready(sampler).sample(batch_with([1, 3])).ids)
    assert draws[0].shape != draws[1].shape or not torch.equal(*draws)


def test_a_mixture_is_configured_with_its_parts():
    config = to_config(MixedNegatives([UniformNegatives(3), PopularityNegatives(4, exponent=1.0)]))
    parts = config["init_args"]["parts"]
    assert [part["class_path"].split(".")[-1] for part in parts] == [
        "UniformNegatives",
        "PopularityNegatives",
    ]
    assert parts[1]["init_args"]["exponent"] == 1.0
