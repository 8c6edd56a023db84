"""What FeatureEmbedding answers about its state, and what the base class declares of every model."""

import math
from dataclasses import replace

import pytest
import torch

from lightning_croloss import TwoTower
from lightning_croloss.data import build_feature
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


def test_a_parameter_that_is_named_alike_is_learned():
    assert FeatureEmbedding.is_table("item_feature_embedding.table_0")
    assert not any(map(FeatureEmbedding.is_table, ("table_bias", "tower.table_", "table_0.weight")))


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


def random_embedding(num_ids=12, dim=5):
    """Return an embedding of features of every kind with values missing, and the features."""
    features = [
        build_feature("kind", "categorical", [*"xyzxyxx", "", *"yzxy"], "table"),
        build_feature("tags", "multi", ["p q r", "", "q", "r p", "", "p", *["q r"] * 6], "table"),
        build_feature("price", "numeric", ["1", "", "4", "2", "", "8", *"345678"], "table"),
    ]
    torch.manual_seed(0)
    embedding = FeatureEmbedding([feature.spec for feature in features], num_ids, dim)
    embedding.fill(features)
    return embedding, features


def naive(embedding, features, number):
    """Return the embedding of one id by loops over its raw values."""
    total = [0.0] * embedding.dim
    for feature, table in zip(features, embedding.embeddings, strict=True):
        weight, values = table.weight.tolist(), feature.values[number].tolist()
        if feature.kind == "numeric":
            (value,) = values
            added = weight[0] if math.isnan(value) else [value * entry for entry in weight[1]]
        else:
            tokens = [value for value in values if value]
            added = [sum(weight[t][d] for t in tokens) / max(len(tokens), 1) for d in range(embedding.dim)]
        total = [one + other for one, other in zip(total, added, strict=True)]
    return torch.tensor(total)


def test_the_embedding_equals_a_loop():
    embedding, features = random_embedding()
    ids = torch.randint(1, 13, (3, 4, 2))
    ids.view(-1)[:12] = torch.arange(1, 13)
    out = embedding(ids)
    assert out.shape == (3, 4, 2, 5)
    for index in ids.nonzero().tolist():
        expected = naive(embedding, features, int(ids[tuple(index)]))
        assert torch.allclose(out[tuple(index)], expected, atol=1e-6)


def test_the_unknown_id_is_zero_and_teaches_nothing():
    embedding, _ = random_embedding()
    out = embedding(torch.tensor([[0, 3], [0, 0]]))
    assert not out[0, 0].any()
    assert not out[1].any()
    embedding(torch.zeros(4, dtype=torch.long)).sum().backward()
    assert not any(table.weight.grad.any() for table in embedding.embeddings)


def test_missing_values_have_finite_gradients():
    embedding, _ = random_embedding()
    embedding(torch.tensor([2, 5, 8])).square().sum().backward()
    gradients = [table.weight.grad for table in embedding.embeddings]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert gradients[2][0].any()  # the vector of a missing number is learned
    assert not gradients[0][0].any()  # padding stays what it is
    assert not gradients[1][0].any()


def test_other_features_than_the_models_are_refused():
    embedding, features = random_embedding()
    with pytest.raises(ValueError, match=r"built for the features \['kind', 'tags', 'price'\], the data has"):
        embedding.fill(features[:2])
    wider = build_feature("tags", "multi", ["p q r s"] + ["p"] * 11, "table")
    with pytest.raises(ValueError, match=r"'tags' has the shape \(13, 4\), .* built for \(13, 3\)"):
        embedding.fill([features[0], wider, features[2]])
    with pytest.raises(ValueError, match="feature 'x' has unknown kind 'number'"):
        FeatureEmbedding([{"name": "x", "kind": "number", "size": 0, "width": 1}], 3, 2)
