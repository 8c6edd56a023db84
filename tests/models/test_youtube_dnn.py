from typing import ClassVar

import pytest
import torch
from torch import nn

from lightning_croloss import CROLoss, YouTubeDNN
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.models.layers import POOLINGS
from lightning_croloss.recommend import catalogue
from tests.data_for_tests import ClusteredData, FeaturedData, fit, quiet_trainer, small_model
from tests.models.cases import (
    FEATURES,
    FOR_HISTORY,
    SGD,
    WITHOUT_EFFECT,
    ArgumentTests,
    Outcomes,
    same,
)


class TestArguments(ArgumentTests):
    outcome = Outcomes(YouTubeDNN, hidden_dims=(16,))
    cases: ClassVar = {
        **FOR_HISTORY,
        "hidden_dims": ({}, (12,)),
        "pooling": ({}, "sum"),
        "dropout": ({}, 0.5),
        "num_users": (FEATURES, 64),
        "user_features": (FEATURES, ()),
    }

    @pytest.mark.slow
    def test_equal_arguments_give_equal_outcomes(self):
        assert same(self.outcome(), self.outcome.of({}))
        other = self.outcome(loss=CROLoss(), optimizer=torch.optim.Adam)
        assert same(other, self.outcome.of({}))


def test_tile_elements_bounds_the_work_and_leaves_the_results(monkeypatch):
    seen = []
    for name in ("target_ranks", "top_items"):
        original = getattr(catalogue, name)

        def recorded(*args, original=original, **kwargs):
            seen.append(kwargs["tile_elements"])
            return original(*args, **kwargs)

        monkeypatch.setattr(catalogue, name, recorded)
    outcome = TestArguments.outcome
    assert same(outcome(**WITHOUT_EFFECT), outcome.of({}))
    few, many = small_model(tile_elements=100), small_model()
    assert torch.equal(few.recommend([[1], [2]], 9)[0], many.recommend([[1], [2]], 9)[0])
    assert set(seen) == {100, 2**24}


def batch_of(history):
    return RetrievalBatch(history, targets=history[:, :1], users=history[:, 0])


def test_the_user_vector_is_pooled_history_through_dense_layers():
    model = small_model(hidden_dims=(16, 12), similarity="dot").eval()
    first, second, last = (layer for layer in model.user_layers if isinstance(layer, nn.Linear))
    history = torch.tensor([[0, 3, 7]])
    pooled = model.item_embedding.weight[[3, 7]].mean(0)
    expected = last(second(first(pooled).relu()).relu())
    assert torch.allclose(model.encode_users(batch_of(history))[0, 0], expected, atol=1e-6)
    assert model.encode_users(batch_of(history)).shape == (1, 1, 8)


def test_items_and_history_share_the_table():
    model = small_model(similarity="dot")
    assert torch.equal(model.encode_items(None), model.item_embedding.weight[1:])
    ids = torch.tensor([[3, 1], [2, 2]])
    assert torch.equal(model.encode_items(ids), model.encode_items(None)[ids - 1])


def test_features_add_to_items_and_stand_beside_the_history():
    model, data = small_model(similarity="dot", **FEATURES).eval(), FeaturedData()
    model.item_feature_embedding.fill(data.features[0])
    model.user_feature_embedding.fill(data.features[1])
    items = model.item_embedding.weight + model.item_feature_embedding(torch.arange(41))
    assert torch.allclose(model.encode_items(None), items[1:])
    history, users = torch.tensor([[0, 3, 7], [4, 4, 9]]), torch.tensor([5, 0])
    pooled = torch.stack([items[[3, 7]].mean(0), items[[4, 4, 9]].mean(0)])
    expected = model.user_layers(torch.cat([pooled, model.user_feature_embedding(users)], 1))
    vectors = model.encode_users(RetrievalBatch(history, history[:, :1], users))
    assert torch.allclose(vectors[:, 0], expected, atol=1e-6)


def test_without_features_there_is_nothing_of_them_in_the_model():
    names = set(small_model().state_dict())
    assert names == {
        "item_embedding.weight",
        *(f"user_layers.{layer}.{part}" for layer in (0, 3) for part in ("weight", "bias")),
    }
    torch.manual_seed(0)
    assert torch.equal(small_model().item_embedding.weight, small_model(**FEATURES).item_embedding.weight)


def test_padding_stays_zero_in_training():
    model = small_model(optimizer=SGD)
    fit(model)
    assert not model.item_embedding.weight[0].any()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_padding_changes_nothing(pooling, similarity):
    model = small_model(pooling=pooling, similarity=similarity)
    short, padded = torch.tensor([[5, 6, 7]]), torch.tensor([[0, 0, 5, 6, 7]])
    assert torch.allclose(model.encode_users(batch_of(short)), model.encode_users(batch_of(padded)))


def test_evaluation_drops_nothing():
    model, data = small_model(dropout=0.5, history_dropout=0.5), ClusteredData()
    metrics = [quiet_trainer().validate(model, data, verbose=False) for _ in range(2)]
    assert metrics[0] == metrics[1] == quiet_trainer().validate(small_model(), data, verbose=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "men"}, "unknown pooling 'men'; did you mean 'mean'?"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"history_dropout": -0.1}, "history_dropout must be at least 0 and below 1, got -0.1"),
        ({"hidden_dims": (8, 0)}, r"hidden_dims must be at least 1 each, got \[8, 0\]"),
        ({**FEATURES, "num_users": 0}, "num_users must be at least 1 for"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("features", [False, True])
def test_training_pools_as_evaluation_does(pooling, features):
    own = {"item_features": FeaturedData().item_feature_specs, "id_dropout": 0.0} if features else {}
    model = small_model(pooling=pooling, **own)
    histories = batch_of(torch.tensor([[0, 0, 5, 6, 7], [0, 0, 0, 0, 0], [0, 3, 0, 3, 9]]))
    torch.testing.assert_close(model.train().encode_users(histories), model.eval().encode_users(histories))


def test_training_pools_what_history_dropout_leaves():
    model = small_model(pooling="sum", history_dropout=0.5, hidden_dims=(), similarity="dot").train()
    histories = batch_of(torch.tensor([[5, 6]] * 200))
    sums = model.pooled_history(histories, "sum")
    events = model.embed_items(torch.tensor([5, 6]))
    possible = torch.stack([events[0], events[1], events.sum(0)])
    each = torch.cdist(sums, possible, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert each.values.max() < 1e-5
    assert len(each.indices.unique()) == 3


class OfItsOwnEvents(YouTubeDNN):
    """Adds something to the events of histories."""

    def embed_history(self, batch):
        events, mask = super().embed_history(batch)
        return events + torch.arange(events.shape[1]).unsqueeze(-1), mask


def test_training_pools_the_events_that_a_subclass_makes():
    model = small_model(OfItsOwnEvents)
    histories = batch_of(torch.tensor([[0, 0, 5, 6, 7], [0, 3, 0, 3, 9]]))
    torch.testing.assert_close(model.train().encode_users(histories), model.eval().encode_users(histories))
