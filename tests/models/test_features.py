"""What FeatureEmbedding answers about its state, and what the base class declares of every model."""

from dataclasses import replace

import pytest
import torch

from lightning_croloss import MatrixFactorization, SASRec, TwoTower, YouTubeDNN
from lightning_croloss.models.layers import FeatureEmbedding
from tests.data_for_tests import FeaturedData
from tests.models.cases import FEATURES


def filled():
    """Return the embedding of FeaturedData's items, and their features."""
    data = FeaturedData()
    features, _ = data.features
    embedding = FeatureEmbedding(data.item_feature_specs, data.num_items, 8)
    embedding.fill(features)
    return embedding, features


def test_the_values_of_features_are_told_from_what_is_learned():
    embedding, features = filled()
    tables = {key for key in embedding.state_dict() if embedding.is_table(key)}
    learned = embedding.state_dict().keys() - tables
    assert tables == {name for name, _ in embedding.named_buffers()}
    assert learned == {name for name, _ in embedding.named_parameters()}
    prefixes = [embedding.learned_prefix(number) for number in range(len(features))]
    assert [sum(key.startswith(prefix) for key in learned) for prefix in prefixes] == [1] * len(features)


def test_the_values_of_features_are_told_in_the_state_of_a_model():
    model = TwoTower(num_items=40, embedding_dim=8, ns=(5,), **FEATURES)
    buffers = {name for name, _ in model.named_buffers() if "feature_embedding" in name}
    assert {key for key in model.state_dict() if FeatureEmbedding.is_table(key)} == buffers
    assert len(buffers) == len(FEATURES["item_features"]) + len(FEATURES["user_features"])


def test_rows_agree_with_themselves_in_any_order():
    embedding, features = filled()
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(40)])
    for number, feature in enumerate(features):
        assert embedding.rows_agree(number, torch.arange(41), feature)
        assert embedding.rows_agree(number, order, replace(feature, values=feature.values[order]))


def test_rows_disagree_with_other_values_tokens_or_widths():
    embedding, features = filled()
    same = torch.arange(41)
    for number, feature in enumerate(features):
        other = feature.values.clone()
        other[5] += 1
        assert not embedding.rows_agree(number, same, replace(feature, values=other))
        unmatched = same.clone()
        unmatched[5] = 0  # an item that this embedding does not know may have any values
        assert embedding.rows_agree(number, unmatched, replace(feature, values=other))
        wider = torch.cat([feature.values, feature.values], dim=1)
        assert not embedding.rows_agree(number, same, replace(feature, values=wider))
        if feature.size:
            assert not embedding.rows_agree(number, same, replace(feature, size=feature.size + 1))


@pytest.mark.parametrize(
    ("build", "ids", "num_users", "max_length", "knows_users"),
    [
        (lambda: YouTubeDNN(num_items=40, ns=(5,)), 1, 0, None, False),
        (lambda: SASRec(num_items=40, ns=(5,), max_length=7), 1, 0, 7, False),
        (lambda: MatrixFactorization(num_items=40, num_users=9, ns=(5,)), 2, 9, None, True),
        (lambda: TwoTower(num_items=40, num_users=9, ns=(5,), use_user_id=True), 2, 9, None, True),
        (lambda: TwoTower(num_items=40, ns=(5,), **FEATURES), 1, 60, None, True),
        (lambda: YouTubeDNN(num_items=40, ns=(5,), use_item_id=False, **FEATURES), 0, 60, None, True),
    ],
)
def test_every_model_says_what_it_has(build, ids, num_users, max_length, knows_users):
    model = build()
    assert len(model.id_embeddings()) == ids
    assert (model.num_users, model.max_length, model.knows_users) == (num_users, max_length, knows_users)
    for name in ("item_embedding", "user_embedding", "item_feature_embedding", "user_feature_embedding"):
        assert (getattr(model, name) is not None) == (name in dict(model.named_children()))
