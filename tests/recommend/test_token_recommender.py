"""Recommendations in tokens, against sorting all scores of the ids."""

import math

import numpy as np
import pytest
import torch

from lightning_croloss import MatrixFactorization
from lightning_croloss.models import TokenRecommender
from lightning_croloss.recommend.top_items import TopItems
from tests.data_for_tests import ClusteredData, FeaturedData, fit, small_model
from tests.models.cases import ITEM_FEATURES

NAMES = [f"item {number}" for number in range(40)]
HISTORIES = [["item 2", "item 0", "item 1"], ["item 10", "item 11"], ["item 39"]]


@pytest.fixture(scope="module")
def model():
    model = small_model(exclude_history=True)
    fit(model, ClusteredData(), max_epochs=1)
    return model


def expected(model, history, n, allowed):
    """Sort the scores of every allowed item that is not in the history."""
    ids, scores = model.recommend([[NAMES.index(token) + 1 for token in history]], 40, exclude_history=False)
    pairs = [
        (NAMES[item - 1], score) for item, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True)
    ]
    return [(token, score) for token, score in pairs if token in allowed and token not in history][:n]


@pytest.mark.parametrize(
    ("allow", "deny"),
    [
        (None, None),
        (NAMES[5:30], None),
        (None, ["item 3", "item 12", "unheard of"]),
        (NAMES[20::-1], NAMES[3:14]),
        (["item 4", "unheard of"], None),
        ([], None),
    ],
)
def test_the_best_of_what_is_allowed(model, allow, deny):
    found = model.recommend_tokens(HISTORIES, 7, allow=allow, deny=deny)
    allowed = set(NAMES if allow is None else allow) - set(deny or ())
    assert len(found) == 3
    for user, history in zip(found, HISTORIES, strict=True):
        wanted = expected(model, history, 7, allowed)
        assert user.tokens == [token for token, _ in wanted]
        assert user.scores == pytest.approx([score for _, score in wanted], abs=1e-6)
        assert user.titles is None
        assert not user.fallback


def test_the_history_may_be_recommended(model):
    ids, scores = model.recommend([[3, 1, 2]], 40, exclude_history=False)
    (user,) = model.recommend_tokens(HISTORIES[:1], 40, exclude_history=False)
    assert user.tokens == [NAMES[item - 1] for item in ids[0].tolist()]
    assert user.scores == scores[0].tolist()


def test_unknown_tokens_are_counted_and_passed_over(model):
    found = model.recommend_tokens(
        [["nothing", "item 2", "item 0", "nil", "item 1"], ["item 10", "item 11"]], 5
    )
    plain = model.recommend_tokens(HISTORIES[:2], 5)
    assert [user.tokens for user in found] == [user.tokens for user in plain]
    assert [user.unknown for user in found] == [2, 0]
    assert (found.num_unknown, found.num_fallback) == (2, 0)


def test_nothing_known_gets_what_is_popular(model):
    counts = model.metadata.item_counts[1:].tolist()
    popular = sorted(range(40), key=lambda position: (-counts[position], position))
    found = model.recommend_tokens([[], ["item 2"], ["nothing"]], 6, deny=[NAMES[popular[1]]])
    best = [popular[0], *popular[2:7]]
    for user, unknown in ((found[0], 0), (found[2], 1)):
        assert user.tokens == [NAMES[position] for position in best]
        assert user.scores == [counts[position] for position in best]
        assert (user.fallback, user.unknown) == (True, unknown)
    assert not found[1].fallback
    assert found.num_fallback == 2


def test_a_model_without_counts_has_nothing_popular(model, monkeypatch):
    monkeypatch.setattr(model.metadata, "item_counts", None)
    found = model.recommend_tokens([[], ["item 2"]], 6)
    assert (found[0].tokens, found[0].fallback) == ([], True)
    assert len(found[1].tokens) == 6


def test_where_fewer_than_n_are_left(model):
    (user,) = model.recommend_tokens([NAMES[:38]], 5)
    assert set(user.tokens) == set(NAMES[38:])


def test_more_users_than_a_batch(model, monkeypatch):
    whole = model.recommend_tokens(HISTORIES * 3, 4)
    monkeypatch.setattr("lightning_croloss.recommend.token_recommender.BATCH_SIZE", 2)
    parts = model.recommend_tokens(HISTORIES * 3, 4)
    assert [user.tokens for user in parts] == [user.tokens for user in whole]
    assert len(model.recommend_tokens([], 4)) == 0


def test_text_and_integers(model):
    model = small_model(num_items=3, ns=(1,))
    model.metadata.take_from(ClusteredData(num_items=40), False)
    integers = type(model.metadata.item_vocabulary)([7, 9, 11])
    model.metadata.item_vocabulary = integers
    found = model.recommend_tokens([[7, "9"], [np.int32(7)], np.array([7])], 1)
    assert [user.tokens for user in found] == [[11], found[1].tokens, found[1].tokens]


def test_titles_and_what_is_printed(model, monkeypatch):
    monkeypatch.setattr(model.metadata, "item_titles", [f"Title {position}" for position in range(40)])
    found = model.recommend_tokens([["item 2", "nothing"], []], 12)
    assert found[0].titles == [f"Title {NAMES.index(token)}" for token in found[0].tokens]
    text = str(found)
    assert "user 1 (1 unknown tokens)" in text
    assert "user 2 (popular)" in text
    assert f"{found[0].tokens[0]}" in text
    assert found[0].titles[0] in text
    assert "… 2 more" in text


def test_diversity_as_by_ids():
    model = small_model(**ITEM_FEATURES)
    fit(model, FeaturedData(), max_epochs=1)
    ids, _ = model.recommend([[1, 2]], 6, diversity=0.3, category="genre")
    (user,) = model.recommend_tokens([["item 0", "item 1"]], 6, diversity=0.3, category="genre")
    assert user.tokens == [NAMES[item - 1] for item in ids[0].tolist()]
    (plain,) = model.recommend_tokens([["item 0", "item 1"]], 6)
    assert plain.tokens != user.tokens


def test_similar_items(model):
    vectors = torch.nn.functional.normalize(model.encode_items(None), dim=1)
    found = model.similar_items(["item 5", "nothing", "item 39"], 6)
    for position, user in ((5, found[0]), (39, found[2])):
        scores = vectors @ vectors[position]
        scores[position] = -math.inf
        assert user.tokens == [NAMES[best] for best in scores.topk(6).indices.tolist()]
        assert user.scores == pytest.approx(scores.topk(6).values.tolist(), abs=1e-5)
    assert (found[1].tokens, found[1].unknown) == ([], 1)


def test_recommending_leaves_the_model_training(model):
    model.train()
    model.recommend_tokens(HISTORIES)
    model.similar_items(["item 1"])
    assert model.training


def test_the_catalogue_is_encoded_once(model, monkeypatch):
    calls = []
    encode = model.encode_catalogue
    monkeypatch.setattr(model, "encode_catalogue", lambda: calls.append(1) or encode())
    recommender = TokenRecommender(model, 3)
    assert [user.tokens for user in recommender(HISTORIES)] == [
        user.tokens for history in HISTORIES for user in recommender([history])
    ]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m: m.recommend_tokens(HISTORIES, 41), ValueError, "n must be in 1 … 40, .* got 41"),
        (lambda m: m.recommend_tokens(HISTORIES, 0), ValueError, "n must be in 1 … 40"),
        (lambda m: m.recommend_tokens("item 1"), TypeError, "histories must be a list of lists"),
        (lambda m: m.recommend_tokens(["item 1"]), TypeError, r"histories\[0\] must be a list of tokens"),
        (lambda m: m.recommend_tokens([["item 1"], [1.5]]), TypeError, r"histories\[1\] holds 1.5"),
        (lambda m: m.recommend_tokens([[None]]), TypeError, r"histories\[0\] holds None"),
        (lambda m: m.recommend_tokens([[True]]), TypeError, r"histories\[0\] holds True"),
        (lambda m: m.recommend_tokens(HISTORIES, allow="item 1"), TypeError, "allow must be a list"),
        (lambda m: m.recommend_tokens(HISTORIES, deny=[2.0]), TypeError, "deny holds 2.0"),
        (lambda m: m.recommend_tokens(HISTORIES, diversity=0.5), ValueError, "needs a category"),
        (lambda m: m.similar_items(["item 1"], 40), ValueError, "n must be in 1 … 39"),
        (lambda m: m.similar_items("item 1"), TypeError, "tokens must be a list"),
        (
            lambda m: TopItems(m, 5, allowed=torch.tensor([41])),
            ValueError,
            "allowed must hold item ids 1 … 40",
        ),
    ],
)
def test_refuses(model, call, error, said):
    with pytest.raises(error, match=said):
        call(model)


def test_refuses_models_without_tokens():
    with pytest.raises(ValueError, match="the model knows no tokens"):
        small_model().recommend_tokens([["a"]])
    model = MatrixFactorization(num_items=40, num_users=60, ns=(5,))
    model.metadata.take_from(ClusteredData(), True)
    with pytest.raises(ValueError, match="recommends to users whose ids it was trained with"):
        model.recommend_tokens([["item 1"]])
