"""Caser: its filters by plain loops, what it reads, its users, and every argument."""

import functools
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import Caser, FullCatalogNegatives, RetrievalModel, SoftmaxLoss, UniformNegatives
from lightning_croloss.data import RetrievalBatch, UserDisjoint
from tests.data_for_tests import ClusteredData, FeaturedData, fit, quiet_trainer
from tests.models.cases import (
    FOR_HISTORY,
    ArgumentTests,
    Outcomes,
    check_exact_resume,
    reloaded,
)
from tests.models.sequences import batch_of


def small_model(**arguments):
    torch.manual_seed(0)
    defaults = {"num_items": 40, "embedding_dim": 8, "negatives": UniformNegatives(30), "ns": (5, 10, 20)}
    return Caser(**{**defaults, "num_horizontal": 3, "num_vertical": 2, **arguments})


class TestArguments(ArgumentTests):
    outcome = Outcomes(Caser, num_horizontal=4, num_vertical=2, num_users=60)
    cases: ClassVar = {
        **FOR_HISTORY,
        "num_users": ({"use_user_id": True}, 64),
        "num_events": ({}, 3),
        "num_horizontal": ({}, 2),
        "num_vertical": ({}, 3),
        "use_user_id": ({}, True),
        "dropout": ({}, 0.1),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_events": 0}, "num_events must be at least 1, got 0"),
        ({"num_horizontal": 0}, "num_horizontal must be at least 1, got 0"),
        ({"num_vertical": 0}, "num_vertical must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"num_users": -1}, "num_users must be at least 0, got -1"),
        ({"use_user_id": True}, "num_users must be at least 1 for user ids, got 0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


def naive_vector(model, items, user=0):
    """The vector of one user, filter by filter."""
    rows = [torch.zeros(8)] * (model.num_events - len(items))
    rows += [model.item_embedding.weight[item] * 8**0.5 for item in items[-model.num_events :]]
    found = []
    for height, layer in enumerate(model.convolutions.horizontal, start=1):
        for weight, bias in zip(layer.weight, layer.bias, strict=True):
            values = [
                sum(float(weight[:, i] @ rows[start + i]) for i in range(height)) + float(bias)
                for start in range(model.num_events - height + 1)
            ]
            found.append(max(0.0, *values))
    for weight in model.convolutions.vertical.weight:
        found += sum(float(share) * row for share, row in zip(weight, rows, strict=True)).tolist()
    vector = model.hidden(torch.tensor(found)).relu()
    if model.user_embedding is not None:
        vector = torch.cat([vector, model.user_embedding.weight[user]])
    return model.output_map(vector)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("items", [[7], [7, 3, 9], [1, 2, 7, 3, 9, 3, 5]])
@pytest.mark.parametrize("use_user_id", [False, True])
def test_the_user_is_what_the_filters_find_in_the_last_events(similarity, items, use_user_id):
    model = small_model(similarity=similarity, use_user_id=use_user_id, num_users=9, num_events=4).eval()
    with torch.no_grad():
        for value in model.convolutions.parameters():
            value.add_(torch.randn_like(value) * 0.2)  # biases are not at 0
    expected = naive_vector(model, items, user=6)
    if similarity == "cosine":
        expected = functional.normalize(expected, dim=-1)
    batch = batch_of(items)
    batch.users = torch.tensor([6])
    found = model.encode_users(batch)
    assert found.shape == (1, 1, 8)
    torch.testing.assert_close(found[0, 0], expected, atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing():
    model = small_model().eval()
    short = model.encode_users(batch_of([6, 7]))
    for padding in (1, 3, 9):
        torch.testing.assert_close(model.encode_users(batch_of([0] * padding + [6, 7])), short)


def test_the_order_of_the_last_events_matters_and_earlier_ones_do_not():
    model = small_model(num_events=3).eval()
    users = model.encode_users(batch_of([9, 1, 2, 3], [8, 1, 2, 3], [9, 2, 1, 3], [9, 1, 3, 2]))[:, 0]
    torch.testing.assert_close(users[0], users[1])
    assert bool(((users[:1] - users[2:]).norm(dim=1) > 1e-3).all())


def test_an_empty_history_has_finite_vectors_and_gradients():
    model = small_model(history_dropout=0.5)
    loss = model.loss_of(batch_of([0, 0, 0], [0, 0, 4], targets=[[1], [2]]))
    loss.backward()
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters())
    ids, scores = model.recommend([[], [1, 2]], 5)
    assert bool((ids > 0).all())
    assert bool(torch.isfinite(scores).all())


def test_dropout_takes_out_outputs_of_the_filters():
    model = small_model(dropout=0.25)
    torch.nn.init.ones_(model.hidden.weight)
    seen = []
    model.hidden.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    batch = batch_of([1, 2, 3, 4, 5])
    model.eval().encode_users(batch)
    for _ in range(200):
        model.train().encode_users(batch)
    plain, dropped = seen[0], torch.cat(seen[1:])
    share = (dropped == 0)[:, plain[0] != 0].double().mean()
    assert float(share) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_user_ids_with_a_user_disjoint_split_are_refused(verb):
    data = FeaturedData(split=UserDisjoint(0.6, 0.2, 0.2))
    message = "use_user_id needs users that training has seen, but UserDisjoint evaluates others: set use"
    with pytest.raises(ValueError, match=message):
        getattr(quiet_trainer(), verb)(small_model(use_user_id=True, num_users=60), data)
    quiet_trainer(limit_train_batches=1, limit_val_batches=1, max_epochs=1).fit(small_model(), data)


def test_users_matter_only_with_their_ids():
    users = torch.tensor([1, 2])
    for use_user_id in (False, True):
        model = small_model(use_user_id=use_user_id, num_users=60).eval()
        history = torch.tensor([[1, 2, 3], [1, 2, 3]])
        one, other = model.encode_users(RetrievalBatch(history, history[:, :1], users))
        assert torch.allclose(one, other, atol=1e-6) != use_user_id
        assert model.knows_users == use_user_id


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"loss": SoftmaxLoss(0.2), "negatives": FullCatalogNegatives()},
        {"use_user_id": True, "num_users": 60},
    ],
)
@pytest.mark.slow
def test_training_finds_the_items(arguments):
    fast = functools.partial(torch.optim.Adam, lr=0.02)
    model = small_model(optimizer=fast, dropout=0.2, **arguments)
    (before,) = quiet_trainer().validate(model, ClusteredData(), verbose=False)
    metrics = fit(model, max_epochs=15, check_val_every_n_epoch=15).callback_metrics
    assert before["val/recall@10"] < 0.5
    assert float(metrics["val/recall@10"]) > 0.7  # the ten items of the user's cluster


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    check_exact_resume(lambda: small_model(history_dropout=0.3), tmp_path)


def test_a_checkpoint_is_enough_to_recommend_alike(tmp_path):
    again = reloaded(small_model(), tmp_path, histories=[[1, 2, 3, 4, 5, 6, 7, 8], []], n=9)
    assert type(again) is Caser
    assert isinstance(again, RetrievalModel)
