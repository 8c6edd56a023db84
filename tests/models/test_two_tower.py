import functools
from typing import ClassVar

import pytest
import torch
from torch import nn

from lightning_croloss import FullCatalogNegatives, RetrievalModel, TwoTower, UniformNegatives, YouTubeDNN
from lightning_croloss.data import Interactions, RetrievalBatch, UserDisjoint, Vocabulary
from lightning_croloss.data.batch import GivenFeatures
from tests.data_for_tests import ClusteredData, FeaturedData, fit, quiet_trainer
from tests.models.cases import FEATURES, FOR_HISTORY, ArgumentTests, Outcomes, same

HISTORIES = [[1, 2, 3, 4, 5, 6], [11, 12]]
ONE_FEATURE = FeaturedData().item_feature_specs[:1]
FAST_ADAM = functools.partial(torch.optim.Adam, lr=0.02)


def small_tower(data=None, cls=TwoTower, **kwargs):
    """Build a model for the features of ``data``, always with the same weights."""
    data = FeaturedData() if data is None else data
    torch.manual_seed(0)
    defaults = {
        "num_items": data.num_items,
        "num_users": data.num_users,
        "item_features": data.item_feature_specs,
        "user_features": data.user_feature_specs,
        "embedding_dim": 8,
        "negatives": UniformNegatives(30),
        "ns": (5, 10, 20),
    }
    return cls(**{**defaults, **kwargs})


def filled_tower(**kwargs):
    """Build a model that has met its data, but was not trained."""
    data, model = FeaturedData(), small_tower(**kwargs)
    for embedding, features in zip(
        (model.item_feature_embedding, model.user_feature_embedding), data.features, strict=True
    ):
        if embedding is not None:
            embedding.fill(features)
    return model.eval()


def batch_of(history, users):
    return RetrievalBatch(history, targets=history[:, :1], users=users)


# ---------------------------------------------------------------------- arguments


class TestArguments(ArgumentTests):
    outcome = Outcomes(TwoTower, **FEATURES)
    cases: ClassVar = {
        **FOR_HISTORY,
        "item_features": ({}, ()),
        "id_dropout": ({}, 0.5),
        "use_item_id": ({}, False),
        "num_users": ({}, 64),
        "user_features": ({}, ()),
        "use_history": ({}, False),
        "use_user_id": ({}, True),
        "user_hidden_dims": ({}, (12,)),
        "item_hidden_dims": ({}, (12,)),
        "pooling": ({}, "sum"),
        "dropout": ({}, 0.5),
        "user_interactions": ({}, ("fm",)),
        "cross_layers": ({"user_interactions": ("cross",)}, 1),
        "separate_user_features": ({"user_interactions": ("fm",)}, True),
        "item_interactions": ({}, ("cross",)),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "men"}, "unknown pooling 'men'; did you mean 'mean'?"),
        ({"id_dropout": 1.0}, "id_dropout must be at least 0 and below 1, got 1.0"),
        ({"history_dropout": -0.1}, "history_dropout must be at least 0 and below 1"),
        ({"user_hidden_dims": (8, 0)}, r"user_hidden_dims must be at least 1 each, got \[8, 0\]"),
        ({"item_hidden_dims": [-1]}, r"item_hidden_dims must be at least 1 each, got \[-1\]"),
        ({"use_item_id": False, "item_features": ()}, "items have no input: set use_item_id, or"),
        ({"use_history": False, "user_features": ()}, "the user tower has no input: set use_history or"),
        ({"user_interactions": ("fn",)}, "unknown user_interactions 'fn'; known: cross, fm"),
        ({"user_interactions": "fm"}, r"user_interactions='fm' must be a list: write \['fm'\]"),
        (
            {"user_interactions": ["fm", "fm"]},
            r"user_interactions must name each kind once, got \['fm', 'fm'",
        ),
        (
            {"user_interactions": ["fm"], "user_features": ()},
            "fm multiplies the inputs of the user tower with",
        ),
        ({"item_interactions": "fm"}, r"item_interactions='fm' must be a list: write \['fm'\]"),
        ({"item_interactions": ["cros"]}, "unknown item_interactions 'cros'; did you mean 'cross'?"),
        (
            {"item_interactions": ["fm", "fm"]},
            r"item_interactions must name each kind once, got \['fm', 'fm'",
        ),
        (
            {"item_interactions": ["fm"], "item_features": ()},
            r"item_interactions=\['fm'\] multiplies features .* but the item tower has no features: give the",
        ),
        (
            {"item_interactions": ["fm"], "item_features": ONE_FEATURE, "use_item_id": False},
            "fm multiplies the inputs of the item tower with one another, which has one alone: set use_item",
        ),
        ({"cross_layers": 0}, "cross_layers must be at least 1, got 0"),
        ({"num_users": 0}, "num_users must be at least 1 for user ids and features, got 0"),
        ({"num_users": 0, "user_features": (), "use_user_id": True}, "num_users must be at least 1"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_tower(**arguments)


# ---------------------------------------------------------------------- towers


def linears(tower):
    return [layer for layer in tower if isinstance(layer, nn.Linear)]


def test_the_towers_are_what_they_are_said_to_be():
    model = filled_tower(similarity="dot", use_user_id=True, item_hidden_dims=(6,))
    inputs = model.item_embedding.weight + model.item_feature_embedding(torch.arange(41))
    first, last = linears(model.item_tower)
    assert torch.allclose(model.encode_items(None), last(first(inputs[1:]).relu()), atol=1e-6)
    ids = torch.tensor([[3, 1], [2, 2]])
    assert torch.allclose(model.encode_items(ids), model.encode_items(None)[ids - 1], atol=1e-6)

    history, users = torch.tensor([[0, 3, 7], [4, 4, 9]]), torch.tensor([5, 0])
    pooled = torch.stack([inputs[[3, 7]].mean(0), inputs[[4, 4, 9]].mean(0)])
    parts = [pooled, model.user_embedding.weight[users], model.user_feature_embedding(users)]
    first, last = linears(model.user_tower)
    expected = last(first(torch.cat(parts, 1)).relu())
    vectors = model.encode_users(batch_of(history, users))
    assert vectors.shape == (2, 1, 8)
    assert torch.allclose(vectors[:, 0], expected, atol=1e-6)


def naive_interactions(layers, kinds, fields):
    """What is added to the output of the dense layers for one user or item, product by product."""
    added = torch.zeros(8)
    if "fm" in kinds:
        pairs = [one * other for i, one in enumerate(fields) for other in fields[:i]]
        added = added + layers["fm"].output_map.weight @ (8**0.5 * sum(pairs))
    if "cross" in kinds:
        cross = layers["cross"]
        state = torch.cat(fields)
        for layer in cross.layers:
            factors = [float(row @ state + bias) for row, bias in zip(layer.weight, layer.bias, strict=True)]
            state = torch.tensor(
                [x0 * factor + x for x0, factor, x in zip(torch.cat(fields), factors, state, strict=True)]
            )
        added = added + cross.output_map.weight @ state
    return added


@pytest.mark.parametrize("kinds", [("fm",), ("cross",), ("fm", "cross")])
@pytest.mark.parametrize("use_user_id", [False, True])
@torch.no_grad()
def test_products_of_the_fields_are_added_to_the_dense_layers(kinds, use_user_id):
    model = filled_tower(similarity="dot", use_user_id=use_user_id, user_interactions=kinds, cross_layers=3)
    for value in model.user_interactions.parameters():
        value.add_(torch.randn_like(value) * 0.2)  # biases are not at 0
    history, users = torch.tensor([[0, 3, 7], [4, 4, 9]]), torch.tensor([5, 0])
    found = model.encode_users(batch_of(history, users))[:, 0]
    pooled = [model.embed_items(row[row > 0]).mean(0) for row in history]
    for number, user in enumerate(users):
        fields = [pooled[number], model.user_feature_embedding(user.unsqueeze(0))[0]]
        if use_user_id:
            fields.insert(1, model.user_embedding.weight[user])
        expected = model.user_tower(torch.cat(fields))
        expected = expected + naive_interactions(model.user_interactions, kinds, fields)
        torch.testing.assert_close(found[number], expected)


def naive_features(embedding, row):
    """The embedding of each feature of one user or item."""
    found = []
    for number, kind in enumerate(embedding.kinds):
        weight, values = embedding.embeddings[number].weight, embedding.get_buffer(f"table_{number}")[row]
        if row == 0:
            found.append(torch.zeros(8))
        elif kind == "numeric":
            found.append(weight[0] if values.isnan() else values * weight[1])
        else:
            of_tokens = [weight[value] for value in values if value]
            found.append(sum(of_tokens) / len(of_tokens) if of_tokens else torch.zeros(8))
    return found


@pytest.mark.parametrize("kinds", [("fm",), ("cross",), ("fm", "cross")])
@pytest.mark.parametrize("use_history", [False, True])
@torch.no_grad()
def test_each_feature_of_a_user_is_a_field_of_its_own_on_request(kinds, use_history):
    arguments = {"use_history": use_history, "cross_layers": 3, "user_interactions": kinds}
    model = filled_tower(similarity="dot", separate_user_features=True, **arguments)
    for value in model.user_interactions.parameters():
        value.add_(torch.randn_like(value) * 0.2)
    history, users = torch.tensor([[0, 3, 7], [4, 4, 9], [1, 2, 3]]), torch.tensor([5, 0, 4])
    given = GivenFeatures([torch.tensor([[0], [2], [1]]), torch.tensor([[0.0], [1.5], [9.0]])], users == 0)
    batch = batch_of(history, users)
    batch.user_features = given
    found = model.encode_users(batch)[:, 0]
    for number, user in enumerate(users.tolist()):
        features = naive_features(model.user_feature_embedding, user)
        if user == 0:
            country, age = (layer.weight for layer in model.user_feature_embedding.embeddings)
            features = [country[2], age[1] * 1.5]
        pooled = [model.embed_items(history[number][history[number] > 0]).mean(0)] if use_history else []
        expected = model.user_tower(torch.cat([*pooled, sum(features)]))
        expected = expected + naive_interactions(model.user_interactions, kinds, [*pooled, *features])
        torch.testing.assert_close(found[number], expected)


@pytest.mark.parametrize("kinds", [("fm",), ("cross",), ("fm", "cross")])
@pytest.mark.parametrize("use_item_id", [False, True])
@torch.no_grad()
def test_the_id_and_each_feature_of_an_item_are_multiplied(kinds, use_item_id):
    model = filled_tower(
        similarity="dot", use_item_id=use_item_id, item_interactions=kinds, item_hidden_dims=(6,)
    )
    for value in model.item_interactions.parameters():
        value.add_(torch.randn_like(value) * 0.2)
    model.seen_items[7] = False  # its features alone
    ids = torch.tensor([[7, 3, 40], [1, 1, 21]])
    found = model.encode_items(ids)
    torch.testing.assert_close(model.encode_items(None)[ids - 1], found)
    for row, vectors in zip(ids.tolist(), found, strict=True):
        for item, vector in zip(row, vectors, strict=True):
            fields = naive_features(model.item_feature_embedding, item)
            if use_item_id:
                own = model.item_embedding.weight[item]
                fields.insert(0, torch.zeros(8) if item == 7 else own)
            expected = model.item_tower(sum(fields))
            expected = expected + naive_interactions(model.item_interactions, kinds, fields)
            torch.testing.assert_close(vector, expected)


def test_a_dropped_id_is_dropped_in_all_its_products():
    model = filled_tower(similarity="dot", item_interactions=["fm"], id_dropout=0.5).train()
    ids = torch.full((400,), 5)
    dropped = model.encode_items(ids)
    assert len(dropped.unique(dim=0)) == 2
    model.seen_items[5] = False
    assert torch.isclose(model.encode_items(ids)[:1], dropped).all(1).float().mean() == pytest.approx(
        0.5, abs=0.1
    )


def test_separate_features_need_interactions_and_new_arguments_leave_other_weights_alone():
    def parameters(**arguments):
        return dict(small_tower(**arguments).named_parameters())

    assert same(parameters(), parameters(separate_user_features=True))
    assert not small_tower(separate_user_features=True).user_feature_embedding.separate
    summed = parameters(user_interactions=["cross"])
    more = parameters(user_interactions=["cross"], item_interactions=["fm"])
    assert more.pop("item_interactions.fm.output_map.weight").shape == (8, 8)
    assert same(summed, more)
    assert summed["user_interactions.cross.layers.0.weight"].shape == (16, 16)


@pytest.mark.parametrize("kinds", [["fm"], ["cross"], ["fm", "cross"]])
def test_a_checkpoint_of_before_there_were_separate_features_gives_the_same_vectors(tmp_path, kinds):
    model = small_tower(user_interactions=kinds)
    fit(model, FeaturedData(), limit_train_batches=2).save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    for name in ("separate_user_features", "item_interactions"):
        del content["hyper_parameters"][name]
    torch.save(content, tmp_path / "old.ckpt")
    again = RetrievalModel.load_from_checkpoint(tmp_path / "old.ckpt", weights_only=True)
    users = torch.tensor([7, 0])
    for got, expected in zip(
        again.recommend(HISTORIES, 9, users=users), model.recommend(HISTORIES, 9, users=users), strict=True
    ):
        assert torch.equal(got, expected)


def test_without_interactions_the_state_is_that_of_earlier_versions():
    plain = small_tower()
    assert not any("user_interactions" in name for name in plain.state_dict())
    torch.manual_seed(3)
    more = small_tower(user_interactions=["cross"], use_history=False)  # of a single input too
    assert set(more.state_dict()) - set(plain.state_dict()) == {
        f"user_interactions.cross.{name}"
        for name in (
            "output_map.weight",
            *(f"layers.{n}.{part}" for n in (0, 1) for part in ("weight", "bias")),
        )
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"use_history": False},
        {"user_interactions": ("fm", "cross"), "use_user_id": True},
        {"use_item_id": False},
        {"user_features": ()},
        {"item_features": ()},
        {"item_features": (), "user_features": (), "num_users": 0},
        {"use_history": False, "user_features": (), "use_user_id": True},
    ],
)
@pytest.mark.slow
def test_each_input_is_optional(arguments):
    model = small_tower(optimizer=FAST_ADAM, **arguments)
    trainer = fit(model, FeaturedData(), max_epochs=10)
    assert trainer.callback_metrics["val/recall@10"] > 0.5  # twice what chance gives: 10 of 40 items


def test_padding_changes_nothing():
    model = filled_tower()
    short, padded = torch.tensor([[5, 6, 7]]), torch.tensor([[0, 0, 5, 6, 7]])
    user = torch.tensor([1])
    one, other = model.encode_users(batch_of(short, user)), model.encode_users(batch_of(padded, user))
    assert torch.allclose(one, other, atol=1e-6)


def test_the_id_of_an_item_is_dropped_at_its_rate_and_in_training_only():
    model = filled_tower(similarity="dot", id_dropout=0.3)
    whole = model.item_embedding.weight[5] + model.item_feature_embedding(torch.tensor([5]))[0]
    without = model.item_feature_embedding(torch.tensor([5]))[0]
    ids = torch.full((4000,), 5)
    assert torch.allclose(model.embed_items(ids), whole)
    seen = model.train().embed_items(ids)
    kept = torch.isclose(seen, whole).all(1)
    assert torch.isclose(seen[~kept], without).all()
    assert kept.float().mean() == pytest.approx(0.7, abs=0.03)


# ---------------------------------------------------------------------- cold items


def pairs_in_order(model, data):
    """Return how often a cold item of the user's cluster is before one of another; 0.5 is chance."""
    scores = []
    for cluster, cold in enumerate(data.cold_items):
        history = [10 * cluster + number for number in (1, 2, 3, 4)]
        ids, values = model.recommend([history], data.num_items, exclude_history=False)
        by_item = dict(zip(ids[0].tolist(), values[0].tolist(), strict=True))
        others = [item for items in data.cold_items if items != cold for item in items]
        scores += [float(by_item[one] > by_item[other]) for one in cold for other in others]
    return sum(scores) / len(scores)


def trained_on_cold(**kwargs):
    data = FeaturedData(cold=True)
    model = small_tower(data, optimizer=FAST_ADAM, negatives=FullCatalogNegatives(), **kwargs)
    fit(model, data, max_epochs=10)
    assert int((data.item_counts == 0).sum()) == 9  # eight items and padding
    return model, data


@pytest.mark.parametrize("use_item_id", [True, False])
@pytest.mark.slow
def test_cold_items_are_ranked_by_their_features(use_item_id):
    model, data = trained_on_cold(use_item_id=use_item_id)
    assert pairs_in_order(model, data) > 0.9
    without, data = trained_on_cold(item_features=())
    assert pairs_in_order(without, data) < 0.8  # ids alone know nothing: 0.31 to 0.71 with nine seeds


@pytest.mark.slow
def test_a_history_of_cold_items_says_what_the_user_likes():
    model, data = trained_on_cold()
    right = 0
    for cluster, cold in enumerate(data.cold_items):
        ids, _ = model.recommend([cold], 8)
        right += sum((int(item) - 1) // 10 == cluster for item in ids[0])
    assert right >= 24  # of 32; chance gives 8


@pytest.mark.slow
def test_the_id_of_an_item_that_training_never_saw_is_not_used():
    model, data = trained_on_cold(similarity="dot")
    assert model.seen_items.tolist() == (data.item_counts > 0).tolist()
    model.eval()
    cold = torch.tensor(data.cold_items).flatten()
    expected = model.item_tower(model.item_feature_embedding(cold))
    assert torch.allclose(model.encode_items(cold), expected, atol=1e-6)
    known = cold - 2
    by_features = model.item_tower(model.item_feature_embedding(known))
    assert not torch.allclose(model.encode_items(known), by_features, atol=1e-6)


@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_an_item_of_an_earlier_training_keeps_its_id(order):
    """A second fit sees fewer items, or more: what either has seen is known."""
    model = small_tower(FeaturedData())
    for cold in order:
        fit(model, FeaturedData(cold=cold), limit_train_batches=1)
    assert model.seen_items.tolist() == [False] + [True] * 40


# ---------------------------------------------------------------------- users


def test_recommendations_depend_on_the_user():
    model = filled_tower()
    one, other, unknown = (
        model.recommend(HISTORIES, 9, users=users)[1]
        for users in (torch.tensor([1, 2]), torch.tensor([3, 2]), None)
    )
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert torch.equal(unknown, model.recommend(HISTORIES, 9, users=torch.tensor([0, 0]))[1])


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([61, 1], r"users must hold user ids 1 … 60 \(0 = unknown\), got 1 … 61"),
        ([-1, 1], "users must hold user ids 1 … 60"),
        ([1], r"users must hold one id for each of the 2 histories, got \(1,\)"),
        ([[1], [2]], "users must hold one id for each of the 2 histories"),
    ],
)
def test_users_that_cannot_be(users, message):
    with pytest.raises(ValueError, match=message):
        filled_tower().recommend(HISTORIES, 9, users=torch.tensor(users))


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_user_ids_with_a_user_disjoint_split_are_refused(verb):
    data = FeaturedData(split=UserDisjoint(0.6, 0.2, 0.2))
    message = (
        "use_user_id needs users that training has seen, but UserDisjoint evaluates others: set use_user_id "
        "to false, or split by LeaveOneOut"
    )
    with pytest.raises(ValueError, match=message):
        getattr(quiet_trainer(), verb)(small_tower(use_user_id=True), data)


@pytest.mark.slow
def test_user_features_serve_users_that_training_never_saw():
    data = FeaturedData(split=UserDisjoint(0.6, 0.2, 0.2))
    model = small_tower(data, use_history=False, optimizer=FAST_ADAM)
    trainer = fit(model, data, max_epochs=10)
    assert trainer.callback_metrics["val/recall@10"] > 0.8


# ---------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("cls", [TwoTower, YouTubeDNN])
def test_a_checkpoint_recommends_without_data(tmp_path, cls):
    model = small_tower(cls=cls)
    fit(model, FeaturedData(), limit_train_batches=2).save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert content["hyper_parameters"]["item_features"] == FeaturedData().item_feature_specs
    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert type(again) is cls
    users = torch.tensor([7, 0])
    for got, expected in zip(
        again.recommend(HISTORIES, 9, users=users), model.recommend(HISTORIES, 9, users=users), strict=True
    ):
        assert torch.equal(got, expected)
    genre = again.item_feature_embedding.get_buffer("table_0")
    assert torch.equal(genre, FeaturedData().features[0][0].values)


def test_a_checkpoint_keeps_its_features_in_a_test(tmp_path):
    model = small_tower()
    fit(model, FeaturedData(), max_epochs=2).save_checkpoint(tmp_path / "model.ckpt")
    again = TwoTower.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    results = [quiet_trainer().test(each, FeaturedData(), verbose=False) for each in (model, again)]
    assert results[0] == results[1]


class Strangers(FeaturedData):
    """As many users as in :class:`FeaturedData`, but others."""

    def load(self):
        data = super().load()
        others = Vocabulary([f"stranger {number}" for number in range(data.num_users)])
        return Interactions.from_ids(data.users.numpy(), data.items.numpy(), others, data.item_vocabulary)


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "loaded", "trained"])
def test_other_users_are_refused_by_models_that_know_users(tmp_path, verb):
    path, model = tmp_path / "model.ckpt", small_tower()
    fit(model, FeaturedData(), limit_train_batches=2).save_checkpoint(path)
    if verb in ("loaded", "trained"):
        if verb == "loaded":
            model = TwoTower.load_from_checkpoint(path, weights_only=True)
        meet = functools.partial(quiet_trainer().test, model, Strangers())
    else:
        meet = getattr(quiet_trainer(), verb)
        meet = functools.partial(meet, small_tower(), Strangers(), ckpt_path=path, weights_only=True)
    with pytest.raises(
        ValueError, match="the model knows other users, by id or by features, than the data's"
    ):
        meet()


def test_a_model_that_knows_no_users_welcomes_everyone():
    model = small_tower(user_features=())
    fit(model, FeaturedData(), limit_train_batches=2)
    quiet_trainer().test(model, Strangers(), verbose=False)
    assert model.metadata.user_fingerprint is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"item_features": ()}, "item_features genre .*, but the data has none"),
        (
            {"item_features": FeaturedData().item_feature_specs[:1]},
            r"item_features genre \(categorical, 4 values\), tags \(multi, 6 values\), price \(numeric\), "
            r"but the data has genre \(categorical, 4 values\): give the data the features it was trained",
        ),
        ({"user_features": ()}, "user_features country .*, but the data has none"),
    ],
)
def test_a_checkpoint_of_other_features_is_refused_in_one_sentence(tmp_path, other, said):
    fit(small_tower(), FeaturedData(), limit_train_batches=2).save_checkpoint(tmp_path / "model.ckpt")
    model = small_tower(**other)
    with pytest.raises(ValueError, match=f"the checkpoint was trained with {said}") as caught:
        quiet_trainer().test(model, FeaturedData(), ckpt_path=tmp_path / "model.ckpt", weights_only=True)
    assert "\n" not in str(caught.value)


def test_data_without_the_features_is_refused():
    with pytest.raises(ValueError, match=r"features \['genre', 'tags', 'price'\], the data has \[\]"):
        fit(small_tower(), ClusteredData())
