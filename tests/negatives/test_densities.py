"""Draws agree with the stated probabilities, and the correction gives back the whole catalogue's rank."""

import math
import warnings

import pytest
import torch
from scipy.stats import chisquare

from lightning_croloss import (
    BPRLoss,
    CROLoss,
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    SoftmaxLoss,
    TripletLoss,
    UniformNegatives,
)
from lightning_croloss.configurable import to_config
from lightning_croloss.data import RetrievalBatch
from tests.data_for_tests import small_model

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
    sampler = ready(PopularityNegatives(exponent=0.0))
    assert sampler.log_prob(torch.arange(1, NUM_ITEMS + 1)).tolist() == pytest.approx(
        [-math.log(NUM_ITEMS)] * NUM_ITEMS
    )


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


def test_a_part_given_twice_draws_twice():
    part = UniformNegatives(5)
    candidates = ready(MixedNegatives([part, part])).sample(batch_with([1]))
    assert candidates.ids.shape == (10,)
    assert candidates.log_prob.tolist() == pytest.approx([-math.log(NUM_ITEMS)] * 10)


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


def test_parts_must_be_samplers():
    with pytest.raises(TypeError, match="parts of a mixture are samplers of negatives, got 'uniform'"):
        MixedNegatives([UniformNegatives(3), "uniform"])


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


def test_another_catalogue_needs_its_counts():
    sampler = ready(PopularityNegatives(5))
    sampler.set_num_items(NUM_ITEMS + 1)
    with pytest.raises(RuntimeError, match="must see the training data first"):
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
