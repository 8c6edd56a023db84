"""Users that training did not know, by their features: the list of a known user with the same features."""

import numpy as np
import pytest
import torch

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.recommend.user_features import encode_user_features
from lightning_croloss import RetrievalModel, TwoTower, YouTubeDNN, load_pretrained, save_pretrained
from tests.data_for_tests import FeaturedData, fit, small_model
from tests.models.cases import FEATURES

COUNTRIES, AGES = FeaturedData().features[1]


def raw(user):
    """Return the features of a user, by its id, as the data has them."""
    country = COUNTRIES.encoding.tokens.decode(COUNTRIES.values[user])[0]
    learned = AGES.encoding.standardisation
    age = float(AGES.values[user, 0]) * learned.scale + learned.center
    return country or None, None if np.isnan(age) else age


TOWERS = {
    "YouTubeDNN": (YouTubeDNN, {}),
    "TwoTower": (TwoTower, {"use_user_id": True}),
    "TwoTower of fields": (
        TwoTower,
        {"use_user_id": True, "user_interactions": ["fm", "cross"], "separate_user_features": True},
    ),
}


@pytest.fixture(scope="module", params=TOWERS)
def trained(request, tmp_path_factory):
    torch.manual_seed(0)
    cls, arguments = TOWERS[request.param]
    model = cls(num_items=40, embedding_dim=8, ns=(5,), **FEATURES, **arguments)
    trainer = fit(model, FeaturedData(), limit_train_batches=8)
    if model.user_embedding is not None:
        model.user_embedding.weight.data.zero_()  # so that users differ by their features alone
    folder = tmp_path_factory.mktemp("users")
    trainer.save_checkpoint(folder / "run.ckpt")
    save_pretrained(model, folder / "model")
    return model, folder


def recommender_of(model, folder, way):
    if way == "export":
        pytest.importorskip("onnxscript", reason="needs the extra [export]")
        from lightning_croloss.serving import Recommender
        from lightning_croloss.serving.export import export_model

        if not (folder / "served").exists():
            export_model(model, folder / "served")
        return Recommender.from_export(folder / "served", threads=1).recommend
    models = {
        "in memory": lambda: model,
        "checkpoint": lambda: RetrievalModel.load_from_checkpoint(folder / "run.ckpt"),
        "folder": lambda: load_pretrained(folder / "model"),
    }
    return models[way]().recommend_tokens


@pytest.mark.parametrize("way", ["in memory", "checkpoint", "folder", "export"])
def test_new_users_are_recommended_what_the_same_known_ones_are(trained, way):
    model, folder = trained
    recommend = recommender_of(model, folder, way)
    # whoever has neither feature is as unknown as a user of whom none are given
    known = [user for user in range(1, 61) if raw(user) != (None, None)][:12]
    countries, ages = zip(*map(raw, known), strict=True)
    assert None in countries or None in ages
    histories = [["item 1"], ["item 9", "item 20"], []] * 4
    tokens = [f"user {user - 1}" for user in known]
    expected = recommend(histories, 7, users=tokens)
    new = [f"new {number}" for number in range(len(known))]
    found = recommend(histories, 7, users=new, user_features={"country": countries, "age": ages})
    assert [user.tokens for user in found] == [user.tokens for user in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-5)
        assert not ours.fallback
        assert ours.unknown_user
    # a known user's own features are those of training, whatever is said
    again = recommend(histories, 7, users=tokens, user_features={"age": [99.0] * len(known)})
    assert [user.tokens for user in again] == [user.tokens for user in expected]
    nothing = recommend(histories, 7, users=new)
    assert [user.fallback for user in nothing] == [False, False, True] * 4
    assert [user.tokens for user in nothing] != [user.tokens for user in found]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"age": [30, 40]}, r"user_features\['age'\] must hold a value for each of the 1 users"),
        ({"age": ["old"]}, "feature 'age' is a number, got 'old'"),
        ({"country": [["a", "b"]]}, r"feature 'country' is one token, got the list \['a', 'b'\]"),
    ],
)
@pytest.mark.parametrize("way", ["in memory", "export"])
def test_refuses(trained, way, features, said):
    recommend = recommender_of(*trained, way)
    with pytest.raises(ValueError, match=said):
        recommend([["item 1"]], 3, users=["new"], user_features=features)


@pytest.mark.parametrize("way", ["in memory", "export"])
def test_what_is_not_read_is_left_out_with_a_warning(trained, way):
    recommend = recommender_of(*trained, way)
    features = {"age": [30]}
    expected = recommend([["item 1"]], 3, users=["new"], user_features=features)
    message = r"does not read 'contry' of users: it is left out; did you mean 'country'\?"
    with pytest.warns(UserWarning, match=message):
        found = recommend([["item 1"]], 3, users=["new"], user_features={"contry": ["country1"], **features})
    assert found[0].tokens == expected[0].tokens


@pytest.mark.parametrize("way", ["in memory", "export"])
def test_a_model_without_features_leaves_them_out_with_a_warning(tmp_path, way):
    model = small_model()
    fit(model, FeaturedData(), limit_train_batches=1)
    recommend = recommender_of(model, tmp_path, way)
    with pytest.warns(UserWarning, match="does not read 'age' of users: it is left out"):
        found = recommend([["item 1"]], 3, user_features={"age": [3]})
    assert found[0].tokens == recommend([["item 1"]], 3)[0].tokens


def test_a_model_whose_file_does_not_say_how_its_features_are_read_refuses_them():
    model = small_model(**FEATURES)
    fit(model, FeaturedData(), limit_train_batches=1)
    model.metadata.user_encodings = None  # as an earlier release wrote it
    with pytest.raises(ValueError, match="does not know how to read features of users"):
        model.recommend_tokens([["item 1"]], 3, users=["new"], user_features={"age": [3]})


@pytest.mark.parametrize(
    ("encoding", "values", "expected"),
    [
        (
            FeatureEncoding.of_numbers("age", np.array([1.0, 3.0, np.nan])),
            [1, "3", None, "", 2.0, np.float32(5)],
            [[-1], [1], [np.nan], [np.nan], [0], [3]],
        ),
        (
            FeatureEncoding.of_tokens("country", "categorical", [["b"], ["a"], ["7"], [""]], " "),
            ["a", "b c", 7, 7.0, None, "", "z"],
            [[2], [0], [1], [1], [0], [0], [0]],
        ),
        (
            FeatureEncoding.of_tokens("tags", "multi", [["x", "y"], ["z", ""]], "|"),
            ["z|x", ["y", "x", "x"], None, "w|z", [], ("x",), float("nan")],
            [[1, 3], [1, 2], [0, 0], [3, 0], [0, 0], [1, 0], [0, 0]],
        ),
    ],
)
def test_values_are_read_as_training_read_them(encoding, values, expected):
    for each in (encoding, FeatureEncoding.from_plain(encoding.to_plain())):
        np.testing.assert_array_equal(each.encode(values), expected)
        assert each == encoding


def test_what_is_given_of_whom():
    encodings = [
        FeatureEncoding.of_numbers("age", np.array([1.0, 3.0])),
        FeatureEncoding.of_tokens("tags", "multi", [["x", "y"]], " "),
    ]
    found = encode_user_features(encodings, {"tags": ["", "x", "unheard of", "y x"]}, 4, "a model")
    assert found.given.tolist() == [False, True, False, True]
    assert found.values[1].tolist() == [[0, 0], [1, 0], [0, 0], [1, 2]]
    assert np.isnan(found.values[0]).all()
    assert encode_user_features(encodings, None, 4, "a model") is None
