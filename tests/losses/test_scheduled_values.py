"""A value that is set by hand is checked at the next call, whichever way it is set and called."""

import copy
import math
import pickle

import pytest
import torch

from lightning_croloss import BPRLoss, CROLoss, SoftmaxLoss, TargetNImportance, TripletLoss
from lightning_croloss.losses import ExponentialImportance, GammaImportance


def target_n(**kwargs):
    return CROLoss("softplus", TargetNImportance(5), num_items=20, **kwargs)


VECTORS = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
IDS = torch.arange(1, 7)
CALLS = {
    "scores": lambda loss: loss(torch.zeros(3), torch.ones(3, 4)),
    "scores of positions": lambda loss: loss(torch.zeros(2, 3), torch.ones(2, 3, 4)),
    "embeddings": lambda loss: loss.from_embeddings(
        VECTORS, VECTORS, VECTORS, target_ids=IDS, candidate_ids=IDS
    ),
    "in_batch": lambda loss: loss.in_batch(VECTORS, VECTORS, symmetric=True),
    "logits": lambda loss: loss.from_logits(torch.zeros(3, 4), torch.tensor([0, 1, 2])),
}

OUT_OF_RANGE = [
    (target_n, "n", -3.0, "n must be a number of at least 1, got -3.0"),
    (target_n, "n", math.nan, "n must be a number of at least 1, got nan"),
    (target_n, "n", 21.0, "n must be at most the size of the catalogue, 20 items, got 21"),
    (target_n, "sharpness", 0.0, "sharpness must be a positive number, got 0.0"),
    (CROLoss, "alpha", -0.1, "alpha must be a number of at least 0, got -0.1"),
    (CROLoss, "temperature", 0.0, "temperature must be a positive number, got 0.0"),
    (lambda: CROLoss("psl_tanh"), "temperature", 1.5, "1.5"),
    (lambda: CROLoss("exp"), "lambda_weight", 1.01, "lambda_weight must be between 0 and 1, got 1.01"),
    (CROLoss, "lambda_weight", 0.5, "lambda_weight > 0 does nothing"),
    (lambda: CROLoss(importance=ExponentialImportance()), "rate", -1.0, "rate must be a positive number"),
    (lambda: CROLoss(importance=GammaImportance()), "concentration", math.inf, "concentration must be a pos"),
    (SoftmaxLoss, "temperature", -1.0, "temperature must be a positive number, got -1.0"),
    (BPRLoss, "temperature", math.nan, "temperature must be a positive number, got nan"),
    (TripletLoss, "temperature", math.inf, "temperature must be a positive number, got inf"),
]


@pytest.mark.parametrize(("make", "name", "value", "message"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_one_sentence_at_the_next_call(make, name, value, message):
    loss = make()
    CALLS["scores"](loss)
    before = float(loss.schedulable()[name])
    loss.schedulable()[name].fill_(value)
    with pytest.raises(ValueError, match=message) as caught:
        CALLS["scores"](loss)
    assert str(caught.value).startswith(f"{type(loss).__name__}, {name} as it was set: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):  # and again, for it is still so
        CALLS["scores"](loss)
    loss.schedulable()[name].fill_(before)
    CALLS["scores"](loss)


@pytest.mark.parametrize("fused", [None, True, False])
@pytest.mark.parametrize("call", CALLS)
def test_every_way_to_call_the_loss_checks(call, fused):
    loss = target_n(fused=fused)
    assert math.isfinite(CALLS[call](loss))
    loss.schedulable()["n"].fill_(-3)
    with pytest.raises(ValueError, match="n must be a number of at least 1, got -3"):
        CALLS[call](loss)


def test_the_soft_rank_checks_too():
    loss = CROLoss()
    loss.temperature.data.fill_(-1)  # a way that leaves no trace in the tensor's version
    with pytest.raises(ValueError, match="temperature must be a positive number, got -1"):
        loss.soft_rank(torch.zeros(3), torch.ones(3, 4))


@pytest.mark.parametrize("value", [0.5, torch.tensor([0.1, 0.2]), None, "0.1"])
@pytest.mark.parametrize("name", ["temperature", "lambda_weight", "n"])
def test_a_value_that_is_replaced_is_told_how_to_be_set(name, value):
    loss = target_n()
    setattr(loss.importance if name == "n" else loss, name, value)
    with pytest.raises(TypeError, match=rf'{name} of CROLoss .*loss.schedulable\(\)\["{name}"\].fill_'):
        CALLS["scores"](loss)


def test_a_catalogue_smaller_than_the_constructors_n_is_left_alone():
    loss = CROLoss("softplus", TargetNImportance(50))
    loss.num_items = 40
    CALLS["scores"](loss)
    loss.schedulable()["n"].fill_(45)
    with pytest.raises(ValueError, match="n must be at most the size of the catalogue, 40 items, got 45"):
        CALLS["scores"](loss)


def test_values_are_checked_only_when_they_change(monkeypatch):
    loss, checked = target_n(), []
    monkeypatch.setattr(loss, "check_value", lambda name, value: checked.append((name, value)))
    for n in (5, 5, 4, 4):
        loss.schedulable()["n"].fill_(n)
        CALLS["in_batch"](loss)
    assert checked == [("n", 4.0)]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_copy_checks_its_own_values(again):
    loss = target_n()
    CALLS["scores"](loss)
    other = again(loss)
    other.schedulable()["n"].fill_(-3)
    CALLS["scores"](loss)
    with pytest.raises(ValueError, match="n must be a number"):
        CALLS["scores"](other)


@pytest.mark.slow
def test_a_compiled_loss_takes_new_values():
    loss = target_n()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    scores = torch.zeros(3), torch.ones(3, 4)
    for n in (5.0, 2.0):
        loss.schedulable()["n"].fill_(n)
        torch.testing.assert_close(compiled(*scores), loss(*scores))
