"""ComiRec: readout and routing against plain loops, every argument, training and checkpoints."""

import functools
import math

import pytest
import torch
from torch.nn import functional

from lightning_croloss import ComiRecDR, ComiRecSA, SoftmaxLoss, UniformNegatives
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.models.layers.self_attention import SelfAttentiveReadout
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import (
    FOR_HISTORY,
    WITHOUT_EFFECT,
    Outcomes,
    arguments_with_bases,
    check_exact_resume,
    reloaded,
    same,
)

HISTORIES = [[1, 2, 3, 4, 5, 6, 7, 8], [11]]
MODELS = (ComiRecSA, ComiRecDR)
both = pytest.mark.parametrize("cls", MODELS)


def small(cls, **kwargs):
    """Build a model for ClusteredData, always with the same weights."""
    torch.manual_seed(0)
    defaults = {"num_items": 40, "embedding_dim": 8, "negatives": UniformNegatives(30), "ns": (5, 10, 20)}
    return cls(**{**defaults, "num_positions": 4, **kwargs})


def batch_of(*histories):
    history = torch.tensor(histories)
    return RetrievalBatch(history, targets=history[:, -1:], users=torch.zeros(len(history), dtype=torch.long))


# ---------------------------------------------------------------------- arguments

DENSE = {"hidden_dims": (16,)}
#: For each argument of the constructors the arguments to start from, and another value of it.
SHARED = {
    **FOR_HISTORY,
    "num_interests": ({}, 1),
    "use_positions": ({}, False),
    "num_positions": ({}, 3),
    "hidden_dims": ({}, ()),
    "dropout": (DENSE, 0.5),
}
CASES = {
    ComiRecSA: {**SHARED, "attention_dim": ({}, 3)},
    ComiRecDR: {**SHARED, "routing_iterations": ({}, 1)},
}
outcomes = {cls: Outcomes(cls, num_positions=4) for cls in MODELS}


@both
def test_there_is_a_case_for_every_argument(cls):
    assert CASES[cls].keys() | WITHOUT_EFFECT.keys() == arguments_with_bases(cls)


@pytest.mark.parametrize(
    ("cls", "name"),
    [(cls, name) for cls in MODELS for name in sorted(CASES[cls])],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_argument_changes_the_outcome(cls, name):
    assert outcomes[cls].changed_by(name, CASES[cls][name])


@both
def test_equal_arguments_give_equal_outcomes(cls):
    outcome = outcomes[cls]
    assert same(outcome(**WITHOUT_EFFECT), outcome.of({}))
    assert same(outcome(dropout=0.5), outcome.of({}))  # there are no dense layers
    without = outcome(use_positions=False)
    assert same(outcome(use_positions=False, num_positions=9), without)


@both
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_interests": 0}, "num_interests must be at least 1, got 0"),
        ({"num_positions": 0}, "num_positions must be at least 1, got 0"),
        ({"hidden_dims": (8, 0)}, r"hidden_dims must be at least 1 each, got \[8, 0\]"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_arguments_out_of_range(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        small(cls, **arguments)


def test_own_arguments_out_of_range():
    with pytest.raises(ValueError, match="attention_dim must be at least 1, got 0"):
        small(ComiRecSA, attention_dim=0)
    with pytest.raises(ValueError, match="routing_iterations must be at least 1, got 0"):
        small(ComiRecDR, routing_iterations=0)


# ---------------------------------------------------------------------- interests


def plain_readout(model, items):
    """Return the interests (K, D) of one user with the given items, one number at a time."""
    events = [model.item_embedding.weight[item] for item in items]
    first, second = model.attention.hidden.weight, model.attention.logits.weight
    interests = []
    for interest in range(len(second)):
        logits = []
        for place, event in enumerate(events):
            key = event
            if model.positions is not None:
                key = event + model.positions[min(len(events) - 1 - place, model.num_positions - 1)]
            hidden = [math.tanh(float(row @ key)) for row in first]
            logits.append(sum(float(w) * h for w, h in zip(second[interest], hidden, strict=True)))
        powers = [math.exp(logit) for logit in logits]
        interests.append(
            sum(power / sum(powers) * event for power, event in zip(powers, events, strict=True))
        )
    return torch.stack(interests)


def plain_routing(model, items):
    """Return the interests (K, D) of one user with the given items, one event and interest at a time."""
    dim, count = model.embedding_dim, model.num_interests
    mapped = []
    for place, item in enumerate(items):
        maps = model.maps[min(len(items) - 1 - place, model.num_maps - 1)].reshape(dim, count, dim)
        mapped.append([model.item_embedding.weight[item] @ maps[:, k] for k in range(count)])
    logits = [[0.0] * count for _ in items]
    for _ in range(model.routing_iterations):
        capsules = []
        for k in range(count):
            total = torch.zeros(dim, dtype=mapped[0][0].dtype)
            for b, images in zip(logits, mapped, strict=True):
                total = total + math.exp(b[k]) / sum(math.exp(other) for other in b) * images[k]
            length = float(total.norm())
            capsules.append(total * length / (1.0 + length**2))
        logits = [
            [b[k] + float(capsules[k] @ images[k]) for k in range(count)]
            for b, images in zip(logits, mapped, strict=True)
        ]
    return torch.stack(capsules)


@pytest.mark.parametrize(
    "arguments", [{}, {"use_positions": False}, {"num_positions": 2, "num_interests": 3}]
)
@pytest.mark.parametrize(
    ("cls", "plain", "own"),
    [
        (ComiRecSA, plain_readout, {"attention_dim": 6}),
        (ComiRecDR, plain_routing, {"routing_iterations": 2}),
        (ComiRecDR, plain_routing, {}),
    ],
)
def test_interests_equal_the_plain_computation(cls, plain, own, arguments):
    model = small(cls, similarity="dot", **own, **arguments).double().eval()
    with torch.no_grad():
        found = model.encode_users(batch_of([0, 0, 7, 3, 9, 3, 8], [0, 0, 0, 0, 0, 0, 5]))
        torch.testing.assert_close(found[0], plain(model, [7, 3, 9, 3, 8]))
        torch.testing.assert_close(found[1], plain(model, [5]))


@both
def test_interests_pass_the_dense_layers_and_have_unit_length(cls):
    model, batch = small(cls, hidden_dims=(16,)).eval(), batch_of(HISTORIES[0])
    first, last = (layer for layer in model.interest_layers if isinstance(layer, torch.nn.Linear))
    plain = small(cls, similarity="dot").eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    expected = functional.normalize(last(first(plain.encode_users(batch)).relu()), dim=-1)
    torch.testing.assert_close(model.encode_users(batch), expected)


@both
@pytest.mark.parametrize("positions", [True, False])
def test_padding_changes_nothing(cls, positions):
    model = small(cls, use_positions=positions).eval()
    short = model.encode_users(batch_of([5, 6, 7, 8, 9]))
    assert short.shape == (1, 4, 8)
    torch.testing.assert_close(model.encode_users(batch_of([0, 0, 0, 5, 6, 7, 8, 9])), short)


@both
def test_the_order_matters_only_with_positions(cls):
    batches = batch_of([5, 6, 7]), batch_of([7, 6, 5])
    with_places, without = (small(cls, use_positions=use).eval() for use in (True, False))
    assert not torch.allclose(*(with_places.encode_users(batch) for batch in batches), atol=1e-4)
    torch.testing.assert_close(*(without.encode_users(batch) for batch in batches))


@both
def test_interests_differ_from_the_start(cls):
    users = small(cls).eval().encode_users(batch_of([1, 2, 3, 4]))[0]
    assert float((users @ users.T).detach().masked_fill(torch.eye(4, dtype=torch.bool), 0).max()) < 0.9999


@both
@pytest.mark.parametrize("arguments", [{}, DENSE])
def test_an_empty_history_has_finite_vectors_and_gradients(cls, arguments):
    model = small(cls, history_dropout=0.5, **arguments)
    batch = RetrievalBatch(
        torch.zeros(2, 3, dtype=torch.long), targets=torch.tensor([[1], [2]]), users=torch.ones(2)
    )
    assert bool(torch.isfinite(model.encode_users(batch)).all())
    model.loss_of(batch).backward()
    assert all(
        bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None
    )
    ids, scores = model.recommend([[], [1, 2]], 5)
    assert bool((ids > 0).all())
    assert bool(torch.isfinite(scores).all())


def test_what_padding_holds_is_not_looked_at():
    generator = torch.Generator().manual_seed(0)
    events, mask = torch.randn(2, 5, 4, generator=generator), torch.ones(2, 5, dtype=torch.bool)
    mask[1, :3] = False
    readout = SelfAttentiveReadout(4, 6, 3)
    found = readout(events, events, mask)
    changed = events.masked_fill(~mask.unsqueeze(-1), 100.0)
    assert torch.equal(readout(changed, changed, mask), found)


@both
def test_training_reads_out_the_interest_closest_to_the_target(cls):
    model = small(cls)
    users, positives = (
        model.encode_users(batch_of(*[[1, 2, 3, 4], [9, 8, 7, 6]])),
        model.encode_items(None)[:2],
    )
    read = model.select_interest(users, positives)
    for user in range(2):
        best = max(users[user], key=lambda interest, user=user: float(interest @ positives[user]))
        assert torch.equal(read[user], best)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("cls", "arguments", "reached"),
    [
        (ComiRecSA, {}, 0.85),
        (ComiRecSA, {"loss": SoftmaxLoss(0.2), "use_positions": False}, 0.85),
        (ComiRecDR, {}, 0.65),  # the maps of four places for 60 users: they overfit
        (ComiRecDR, {"loss": SoftmaxLoss(0.2), "use_positions": False}, 0.85),
    ],
)
def test_training_lowers_the_loss_and_finds_the_items(cls, arguments, reached):
    fast = functools.partial(torch.optim.Adam, lr=0.02)
    data, model = ClusteredData(), small(cls, optimizer=fast, **arguments)
    (before,) = quiet_trainer().validate(model, data, verbose=False)
    first = float(fit(model, data, limit_train_batches=1).callback_metrics["train/loss"])
    metrics = fit(model, data, max_epochs=20, check_val_every_n_epoch=20).callback_metrics
    assert float(metrics["train/loss"]) < 0.8 * first
    assert before["val/recall@10"] < 0.55
    assert float(metrics["val/recall@10"]) > reached  # the ten items of the user's cluster


@both
def test_training_in_bfloat16(cls):
    for precision in ("bf16-mixed", "bf16-true"):
        model = small(cls)
        fit(model, precision=precision, limit_train_batches=3)
        assert all(bool(torch.isfinite(value).all()) for value in model.parameters())


@both
def test_a_resumed_run_equals_the_uninterrupted_one(cls, tmp_path):
    def resumable():
        return small(cls, history_dropout=0.3)

    check_exact_resume(resumable, tmp_path)


@both
def test_a_checkpoint_is_enough_to_recommend_alike(cls, tmp_path):
    model = small(cls, num_interests=3, hidden_dims=(12,))
    assert type(reloaded(model, tmp_path, histories=HISTORIES, n=9)) is cls
