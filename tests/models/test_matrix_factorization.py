"""MatrixFactorization: vectors of users and items, which events train it, whom it recommends to."""

import functools
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import (
    BPRLoss,
    MatrixFactorization,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.data import LeaveOneOut, RetrievalBatch, UserDisjoint
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import (
    FOR_RETRIEVAL,
    ArgumentTests,
    Outcomes,
    check_exact_resume,
    reloaded,
)

FAST_ADAM = functools.partial(torch.optim.Adam, lr=0.03)


def small(**kwargs):
    """Build a model for ClusteredData, always with the same weights."""
    torch.manual_seed(0)
    defaults = {"num_items": 40, "num_users": 60, "embedding_dim": 8, "ns": (5, 10, 20)}
    return MatrixFactorization(**{**defaults, "negatives": UniformNegatives(30), **kwargs})


class TestArguments(ArgumentTests):
    outcome = Outcomes(MatrixFactorization, users=(1, 2), num_users=60)
    cases: ClassVar = {**FOR_RETRIEVAL, "num_users": ({}, 64)}


def test_the_number_of_users_must_be_positive():
    with pytest.raises(ValueError, match="num_users must be at least 1, got 0"):
        small(num_users=0)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_score_is_the_similarity_of_two_rows(similarity):
    model = small(similarity=similarity)
    users, items = model.user_embedding.weight[[7, 3]], model.item_embedding.weight
    if similarity == "cosine":
        users, items = functional.normalize(users, dim=-1), functional.normalize(items, dim=-1)
    batch = RetrievalBatch(torch.tensor([[5], [0]]), torch.tensor([[1], [2]]), torch.tensor([7, 3]))
    torch.testing.assert_close(model.encode_users(batch), users.unsqueeze(1))
    torch.testing.assert_close(model.encode_items(None), items[1:])
    ids = torch.tensor([[2, 9], [4, 4]])
    torch.testing.assert_close(model.encode_items(ids), items[ids])
    found, scores = model.recommend(n=5, users=torch.tensor([7, 3]))
    expected = (users @ items[1:].T).topk(5)
    assert torch.equal(found, expected.indices + 1)
    torch.testing.assert_close(scores, expected.values)


def test_the_history_is_left_out_of_recommendations_only():
    model, users = small(), torch.tensor([7, 3])
    everything, _ = model.recommend(n=40, users=users)
    histories = everything[:, :3].tolist()
    assert torch.equal(model.recommend(histories, 37, True, users=users)[0], everything[:, 3:])
    assert torch.equal(model.recommend(histories, 40, exclude_history=False, users=users)[0], everything)


@pytest.mark.parametrize("users", [None, torch.tensor([1, 0])])
def test_unknown_users_are_refused(users):
    message = "MatrixFactorization knows users by their ids alone: give users"
    with pytest.raises(ValueError, match=message):
        small().recommend([[1], [2]], 5, users=users)


def test_users_out_of_range_are_refused():
    with pytest.raises(ValueError, match="users must hold user ids 1 … 60"):
        small().recommend(n=5, users=torch.tensor([61]))


def test_models_of_histories_want_them():
    model = YouTubeDNN(40, ns=(5,))
    with pytest.raises(ValueError, match="give histories, or users if the model knows them"):
        model.recommend(n=5)


def test_users_alone_are_users_without_events():
    model = YouTubeDNN(40, ns=(5,))
    one, other = model.recommend(n=5, users=torch.tensor([1, 2])), model.recommend([[], []], 5)
    assert torch.equal(one[0], other[0])


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_a_user_disjoint_split_is_refused(verb):
    message = "MatrixFactorization needs users that training has seen, but UserDisjoint evaluates others"
    with pytest.raises(ValueError, match=message):
        getattr(quiet_trainer(), verb)(small(), ClusteredData(split=UserDisjoint(0.6, 0.2, 0.2)))


# ---------------------------------------------------------------------- training


class Recording(MatrixFactorization):
    """Keeps the pairs that it trains on."""

    def loss_of(self, batch):
        pairs = zip(batch.users.tolist(), batch.targets[:, 0].tolist(), strict=True)
        self.pairs = [*getattr(self, "pairs", []), *pairs]
        return super().loss_of(batch)


def test_every_training_event_trains_also_the_first_of_a_user():
    data = ClusteredData(split=LeaveOneOut())
    model = Recording(40, 60, embedding_dim=8, ns=(5,), negatives=UniformNegatives(30))
    fit(model, data)
    events, kept = data.interactions, data.rows.training_events
    expected = sorted(zip(events.users[kept].tolist(), events.items[kept].tolist(), strict=True))
    assert sorted(model.pairs) == expected
    assert len(expected) == 60 * 6


def test_the_data_serves_a_model_of_histories_afterwards():
    data = ClusteredData()
    fit(small(), data)
    assert data.request.first_events
    fit(YouTubeDNN(40, ns=(5,), embedding_dim=8, negatives=UniformNegatives(30)), data)
    assert not data.request.first_events


@pytest.mark.parametrize("use_history", [True, False])
def test_a_two_tower_trains_on_first_events_if_it_sees_no_history(use_history):
    data = ClusteredData()
    model = TwoTower(
        40, num_users=60, use_user_id=True, use_history=use_history, ns=(5,), negatives=UniformNegatives(30)
    )
    fit(model, data)
    assert data.request.first_events is not use_history


@pytest.mark.parametrize("arguments", [{}, {"loss": BPRLoss(0.2)}])
@pytest.mark.slow
def test_training_lowers_the_loss_and_finds_the_items(arguments):
    data, model = ClusteredData(), small(optimizer=FAST_ADAM, exclude_history=True, **arguments)
    (before,) = quiet_trainer().validate(model, data, verbose=False)
    first = float(fit(model, data, limit_train_batches=1).callback_metrics["train/loss"])
    metrics = fit(model, data, max_epochs=25, check_val_every_n_epoch=25).callback_metrics
    assert float(metrics["train/loss"]) < 0.8 * first
    assert before["val/recall@5"] < 0.4
    assert float(metrics["val/recall@5"]) > 0.7  # of the user's cluster four items are left


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    check_exact_resume(small, tmp_path)


def test_a_checkpoint_is_enough_to_recommend_alike_and_knows_its_users(tmp_path):
    model = small()
    again = reloaded(model, tmp_path, n=9, users=torch.tensor([4, 60]))
    assert type(again) is MatrixFactorization
    with pytest.raises(ValueError, match="the model knows other users"):
        quiet_trainer().validate(again, ClusteredData(num_users=59), verbose=False)
