import copy
import functools
import inspect

import pytest
import torch
from lightning.pytorch import Callback
from scipy.stats import chisquare
from torch.nn import functional

from lightning_croloss import (
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    SoftmaxLoss,
    UniformNegatives,
)
from lightning_croloss import negatives as package
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.negatives import Candidates, Negatives
from tests.data_for_tests import ClusteredData, fit, small_model

CLASSES = [cls for cls in vars(package).values() if isinstance(cls, type) and issubclass(cls, Negatives)]
SAMPLERS = [cls for cls in CLASSES if not inspect.isabstract(cls)]


def batch_of(rows=4, known_positives=None):
    ids = torch.ones(rows, 3, dtype=torch.long)
    return RetrievalBatch(ids, targets=ids[:, :1], users=ids[:, 0], known_positives=known_positives)


def ready(sampler, num_items=40):
    """Tell a sampler its catalogue and the counts 1, 2, 3, … of its items."""
    sampler.set_num_items(num_items)
    counts = torch.arange(num_items + 1)
    sampler.prepare(counts, counts)
    return sampler


def make(cls, **kwargs):
    if cls is MixedNegatives:
        kwargs.setdefault("parts", [UniformNegatives(4), PopularityNegatives(6)])
    return ready(cls(**kwargs))


# ---------------------------------------------------------------------- uniform


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


# ---------------------------------------------------------------------- the full catalogue


def test_the_full_catalogue_is_every_item_in_order():
    candidates = ready(FullCatalogNegatives(), num_items=6).sample(batch_of())
    assert candidates.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert candidates.whole_catalogue
    assert (candidates.log_prob, candidates.excluded_ids, candidates.num_sampled) == (None, None, None)


class Steps(Callback):
    """Keeps the batches of training."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch)


def test_full_catalogue_softmax_training_is_cross_entropy_over_all_items():
    sgd = functools.partial(torch.optim.SGD, lr=0.5)
    model = small_model(loss=SoftmaxLoss(0.2), negatives=FullCatalogNegatives(), optimizer=sgd)
    naive, steps = copy.deepcopy(model), Steps()
    trainer = fit(model, callbacks=[steps], limit_train_batches=1)

    (batch,) = steps.batches
    logits = naive.encode_users(batch)[:, 0] @ naive.encode_items(None).T / 0.2
    expected = functional.cross_entropy(logits, batch.targets[:, 0] - 1)
    expected.backward()
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(expected.item(), rel=1e-5)
    for trained, parameter in zip(model.parameters(), naive.parameters(), strict=True):
        assert parameter.grad.any()
        assert torch.allclose(trained, parameter - 0.5 * parameter.grad, atol=1e-6)


# ---------------------------------------------------------------------- known positives


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


# ---------------------------------------------------------------------- outside of a model


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
