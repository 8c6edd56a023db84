"""What all samplers share: known positives, and a catalogue that they must be told."""

import functools
import inspect

import pytest
import torch

from lightning_croloss import (
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    SoftmaxLoss,
    UniformNegatives,
)
from lightning_croloss import negatives as package
from lightning_croloss.negatives import Negatives
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.negatives.cases import Steps, batch_of, ready

CLASSES = [cls for cls in vars(package).values() if isinstance(cls, type) and issubclass(cls, Negatives)]

SAMPLERS = [cls for cls in CLASSES if not inspect.isabstract(cls)]


def make(cls, **kwargs):
    if cls is MixedNegatives:
        kwargs.setdefault("parts", [UniformNegatives(4), PopularityNegatives(6)])
    return ready(cls(**kwargs))


class GradientRecorder(SoftmaxLoss):
    """Keeps the candidates' ids and the gradients that they get."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def from_embeddings(self, users, positives, candidates, **kwargs):
        # of each row on its own: (B, M, D)
        candidates = candidates.expand(len(users), *candidates.shape[-2:])
        ids = kwargs["candidate_ids"].expand(candidates.shape[:2])
        loss = super().from_embeddings(users, positives, candidates, **{**kwargs, "candidate_ids": ids})
        (gradient,) = torch.autograd.grad(loss, candidates, retain_graph=True)
        self.seen.append((ids, gradient.abs().amax(-1)))
        return loss


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize(
    "sampler",
    [
        functools.partial(UniformNegatives, 30),
        functools.partial(UniformNegatives, 30, False),
        FullCatalogNegatives,
        functools.partial(PopularityNegatives, 30),
        InBatchNegatives,
        functools.partial(MixedNegatives, [UniformNegatives(9), InBatchNegatives(), PopularityNegatives(9)]),
    ],
    ids=["shared", "each row", "full", "popularity", "in-batch", "mixed"],
)
def test_known_positives_get_no_gradient(sampler, exclude):
    data, steps = ClusteredData(), Steps()
    model = small_model(loss=GradientRecorder(), negatives=sampler(exclude_known_positives=exclude))
    fit(model, data, callbacks=[steps], limit_train_batches=3)
    loss = model.loss
    assert len(loss.seen) == len(steps.batches) == 3
    events = data.interactions
    for batch, (ids, gradients) in zip(steps.batches, loss.seen, strict=True):
        assert (batch.known_positives is not None) == exclude
        for row, user in enumerate(batch.users.tolist()):
            liked = events.items[events.users == user][:-2].tolist()  # the last two are held out
            ignored = set(liked) if exclude else {int(batch.targets[row, 0])}
            for item, gradient in zip(ids[row].tolist(), gradients[row].tolist(), strict=True):
                assert (gradient == 0.0) == (item in ignored), (item, liked)


@pytest.mark.parametrize("cls", SAMPLERS)
def test_exclusion_needs_batches_that_know(cls):
    sampler = make(cls, exclude_known_positives=True)
    known = torch.tensor([[1, 2], [3, 0]])
    assert sampler.sample(batch_of(2, known_positives=known)).excluded_ids is known
    with pytest.raises(ValueError, match="exclude_known_positives needs batches with known_positives: call"):
        sampler.sample(batch_of(2))
    assert make(cls).sample(batch_of(2, known_positives=known)).excluded_ids is None


COUNTS = torch.arange(41)

USES = {
    "sample": lambda sampler: sampler.sample(batch_of()),
    "log_prob": lambda sampler: sampler.log_prob(torch.tensor([1])),
    "prepare": lambda sampler: sampler.prepare(COUNTS, COUNTS),
}

NEEDS_COUNTS = [(cls, "prepare") for cls in (PopularityNegatives, InBatchNegatives)]

NEEDS_CATALOGUE = [(cls, "log_prob") for cls in SAMPLERS if cls is not MixedNegatives]  # needs a sample first


@pytest.mark.parametrize(
    ("cls", "use"), [*((cls, "sample") for cls in SAMPLERS), *NEEDS_CATALOGUE, *NEEDS_COUNTS]
)
def test_a_sampler_without_a_catalogue_says_what_is_missing(cls, use):
    parts = {"parts": [UniformNegatives(4), UniformNegatives(6)]} if cls is MixedNegatives else {}
    sampler = cls(**parts)
    name = "UniformNegatives" if parts else cls.__name__
    message = rf"{name} does not know the catalogue: give it to a RetrievalModel, or call set_num_items"
    with pytest.raises(RuntimeError, match=message):
        USES[use](sampler)


@pytest.mark.parametrize("cls", SAMPLERS)
def test_a_catalogue_without_items_is_refused(cls):
    with pytest.raises(ValueError, match="num_items must be at least 1, got 0"):
        make(cls).set_num_items(0)


@pytest.mark.parametrize("cls", SAMPLERS)
def test_log_q_is_asked_of_items(cls):
    sampler = make(cls)
    sampler.sample(batch_of())
    for wrong in (-1, 41, 99):
        with pytest.raises(ValueError, match=rf"ids must be in 0 … 40, the number of items .*, got {wrong}"):
            sampler.log_prob(torch.tensor([1, wrong]))
    with pytest.raises(TypeError, match=r"ids must be integers, got torch\.float32"):
        sampler.log_prob(torch.ones(2))
    with pytest.raises(TypeError, match="ids must be a tensor of item ids, got list"):
        sampler.log_prob([1, 2])
    narrow = sampler.log_prob(torch.tensor([0, 1, 40], dtype=torch.uint8))
    assert torch.equal(narrow, sampler.log_prob(torch.tensor([0, 1, 40])))
    assert sampler.log_prob(torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3)


@pytest.mark.parametrize("cls", [InBatchNegatives, PopularityNegatives, MixedNegatives])
@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ([0, 1, 2], TypeError, r"item_counts must be a tensor \(num_items \+ 1,\), got list: torch.as_ten"),
        (torch.ones(5), ValueError, r"item_counts must be \(num_items \+ 1,\) with num_items=40"),
        (torch.full((41,), float("nan")), ValueError, "item_counts must hold finite .*, got nan for id 0"),
        (torch.arange(41) - 5, ValueError, "item_counts must hold finite .*, got -5 for id 0"),
        (torch.ones(41).bool(), TypeError, "item_counts must hold numbers, got torch.bool"),
    ],
    ids=["list", "shape", "NaN", "negative", "bool"],
)
def test_counts_that_are_none(cls, counts, error, message):
    with pytest.raises(error, match=message):
        make(cls).prepare(counts, torch.arange(41))


@pytest.mark.parametrize("cls", [UniformNegatives, PopularityNegatives])
@pytest.mark.parametrize("number", [2.5, "3", True, float("nan")])
def test_a_number_of_draws_is_whole(cls, number):
    with pytest.raises(ValueError, match="num_negatives must be a whole number, got"):
        cls(number)
