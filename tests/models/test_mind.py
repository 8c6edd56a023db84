"""MIND: the routing against a plain computation, the readouts, and every argument."""

import inspect
import math

import pytest
import torch

from lightning_croloss import MIND, RetrievalModel, YouTubeDNN
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.models.layers.capsules import active_interests, route_to_interests, squash
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.models.test_youtube_dnn import same

OWN = {
    "num_interests": ({}, 2),
    "routing_iterations": ({}, 1),
    "routing_init": ({}, "fixed"),
    "adaptive_interests": ({}, False),
    "readout": ({}, "attention"),
    "readout_power": ({"readout": "attention"}, 0.0),
    "hidden_dims": ({}, (12,)),
    "dropout": ({}, 0.5),
    "history_dropout": ({}, 0.5),
}


def batch_of(*histories):
    history = torch.tensor(histories)
    return RetrievalBatch(history, targets=history[:, -1:], users=torch.zeros(len(history), dtype=torch.long))


def plain_routing(events, matrix, mask, logits, active, iterations):
    """Route one user after the other, one interest and one event at a time, as the paper writes it."""
    users, places, dim = events.shape
    found = torch.zeros(users, logits.shape[1], dim, dtype=events.dtype)
    for user in range(users):
        interests = [k for k in range(logits.shape[1]) if active[user, k]]
        b = {(k, i): float(logits[user, k, i]) for k in interests for i in range(places)}
        mapped = [matrix @ events[user, i] for i in range(places)]
        for _ in range(iterations):
            u = {}
            for k in interests:
                z = torch.zeros(dim, dtype=events.dtype)
                for i in range(places):
                    if mask[user, i]:
                        total = sum(math.exp(b[j, i]) for j in interests)
                        z = z + math.exp(b[k, i]) / total * mapped[i]
                length = float(z.norm())
                u[k] = z * length / (1.0 + length**2)
            for (k, i), value in b.items():
                b[k, i] = value + float(u[k] @ mapped[i])
        for k in interests:
            found[user, k] = u[k]
    return found


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_routing_equals_the_plain_computation(iterations):
    generator = torch.Generator().manual_seed(0)
    events = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
    matrix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    logits = torch.randn(3, 3, 5, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [False, False, True, True, True], [False] * 4 + [True]])
    active = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    found = route_to_interests(events, matrix, mask, logits, active, iterations)
    expected = plain_routing(events, matrix, mask, logits, active, iterations)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_only_the_last_sum_is_trained():
    events = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    matrix, logits = torch.eye(3, dtype=torch.float64), torch.randn(1, 2, 4, dtype=torch.float64)
    mask, active = torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    whole = route_to_interests(events, matrix, mask, logits, active, 2)
    (gradient,) = torch.autograd.grad(whole.sum(), events)
    with torch.no_grad():
        first = route_to_interests(events, matrix, mask, logits, active, 1)
        routed = logits + first @ events.transpose(1, 2)
    (expected,) = torch.autograd.grad(
        squash(torch.softmax(routed, 1) @ events).sum(), events
    )  # the weights fixed
    torch.testing.assert_close(gradient, expected)


def test_short_histories_have_fewer_interests():
    lengths = torch.tensor([0, 1, 2, 3, 4, 7, 8, 100])
    expected = [max(1, min(4, int(math.log2(n)))) if n else 1 for n in lengths.tolist()]
    assert active_interests(lengths, 4).sum(1).tolist() == expected


def test_places_without_interest_hold_copies_of_the_first():
    users = small_model(MIND).eval().encode_users(batch_of([0, 0, 0, 0, 1, 2, 3], [1, 2, 3, 4, 5, 6, 7]))
    assert users.shape == (2, 4, 8)
    assert torch.equal(users[0], users[0, :1].expand(4, -1))  # three events, one interest
    assert len(torch.unique(users[1], dim=0)) == 2


def test_padding_changes_nothing():
    model = small_model(MIND).eval()
    short = model.encode_users(batch_of([5, 6, 7, 8, 9]))
    torch.testing.assert_close(model.encode_users(batch_of([0, 0, 0, 5, 6, 7, 8, 9])), short)


def test_an_empty_history_has_finite_vectors():
    assert bool(torch.isfinite(small_model(MIND).encode_users(batch_of([0, 0, 0]))).all())


def test_training_draws_logits_and_evaluation_does_not():
    model, batch = small_model(MIND), batch_of([1, 2, 3, 4, 5])
    assert not torch.equal(model.encode_users(batch), model.encode_users(batch))
    model.eval()
    assert torch.equal(model.encode_users(batch), model.encode_users(batch))
    fixed = small_model(MIND, routing_init="fixed")
    assert torch.equal(fixed.encode_users(batch), fixed.eval().encode_users(batch))


def test_attention_weighs_interests_by_their_similarity():
    users = torch.nn.functional.normalize(torch.randn(2, 3, 5, dtype=torch.float64), dim=-1)
    users[1, 2] = users[1, 0]  # a copy, which must not count twice
    positives = torch.nn.functional.normalize(torch.randn(2, 5, dtype=torch.float64), dim=-1)
    readouts = {}
    for power in (0.0, 2.0, 1e4):
        model = small_model(MIND, readout="attention", readout_power=power)
        readouts[power] = model.select_interest(users, positives)
        for user, count in enumerate((3, 2)):
            kept = users[user, :count]
            weights = torch.softmax(power * (kept @ positives[user]), 0)
            mean = (weights.unsqueeze(1) * kept).sum(0)
            torch.testing.assert_close(readouts[power][user], mean / mean.norm())
    hard = small_model(MIND, readout="hard").select_interest(users, positives)
    torch.testing.assert_close(readouts[1e4], hard)
    torch.testing.assert_close(hard[0], users[0, int((users[0] @ positives[0]).argmax())])


def test_there_is_a_case_for_every_argument():
    theirs = set(inspect.signature(RetrievalModel).parameters)
    assert set(inspect.signature(MIND).parameters) - theirs - {"kwargs"} == set(OWN)


def outcome(**arguments):
    model = small_model(MIND, **arguments)
    data = ClusteredData(num_users=24, max_history=8)
    fit(model, data, max_epochs=1)
    ids, scores = model.recommend([[1, 2, 3, 4, 5, 6], [11]], 9)
    return {"ids": ids, "scores": scores, "items": model.encode_items(None)}


@pytest.mark.parametrize("name", sorted(OWN))
def test_every_argument_changes_the_outcome(name):
    others, value = OWN[name]
    assert not same(outcome(**others), outcome(**others, **{name: value}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_interests": 0}, "num_interests must be at least 1"),
        ({"routing_iterations": 0}, "routing_iterations must be at least 1"),
        ({"routing_init": "fixd"}, "did you mean 'fixed'"),
        ({"readout": "hrd"}, "did you mean 'hard'"),
        ({"readout_power": -1.0}, "readout_power must be a number of at least 0"),
        ({"history_dropout": 1.0}, "history_dropout must be at least 0 and below 1"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(MIND, **arguments)


def test_training_finds_the_items():
    data, model = ClusteredData(), small_model(MIND, history_dropout=0.2)
    before = float(
        fit(small_model(MIND), data, max_epochs=1, limit_train_batches=1).callback_metrics["val/recall@10"]
    )
    after = float(fit(model, data, max_epochs=25).callback_metrics["val/recall@10"])
    assert after > before + 0.15


def test_a_checkpoint_is_enough_to_recommend_alike(tmp_path):
    model = small_model(MIND)
    trainer = fit(model, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "mind.ckpt")
    again = MIND.load_from_checkpoint(tmp_path / "mind.ckpt", weights_only=True)
    histories = [[1, 2, 3, 4, 5, 6, 7, 8], [9]]
    for one, other in zip(model.recommend(histories, 6), again.recommend(histories, 6), strict=True):
        assert torch.equal(one, other)
    assert not isinstance(again, YouTubeDNN)
