"""Controllable diversity against a plain greedy loop, and as models offer it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss import ComiRecSA, MatrixFactorization, YouTubeDNN
from lightning_croloss.retrieval import diverse_items
from tests.data_for_tests import FeaturedData, fit, small_model
from tests.models.cases import ITEM_FEATURES

HISTORIES = [[1, 2, 3, 4, 5], [11], []]
#: Arguments of ``diverse_items`` that go together.
FITTING = {
    "ids": torch.tensor([[1, 2, 3]]),
    "scores": torch.zeros(1, 3),
    "categories": torch.zeros(4, 1, dtype=torch.long),
    "n": 2,
    "diversity": 0.1,
}


def plain_greedy(ids, scores, categories, n, diversity):
    """Choose for each user one item after the other, looking at every pair."""
    all_ids, all_scores = [], []
    for user_ids, user_scores in zip(ids.tolist(), scores.tolist(), strict=True):
        left = [(item, score) for item, score in zip(user_ids, user_scores, strict=True) if item]
        chosen = []
        while left and len(chosen) < n:
            values = []
            for item, score in left:
                differing = sum(differ(categories, item, other) for other, _ in chosen)
                values.append(score + diversity * differing)
            chosen.append(left.pop(values.index(max(values))))
        chosen += [(0, -math.inf)] * (n - len(chosen))
        all_ids.append([item for item, _ in chosen])
        all_scores.append([score for _, score in chosen])
    return torch.tensor(all_ids), torch.tensor(all_scores)


def differ(categories, one, other):
    first, second = ({int(c) for c in categories[item] if c} for item in (one, other))
    return not (first & second) and bool(first or second)


@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 3),
    n=st.integers(1, 8),
    diversity=st.sampled_from([0.0, 1.0, 2.0, 7.0]),
    padded=st.integers(0, 6),
)
@settings(max_examples=60)
def test_the_choice_equals_the_plain_loop(seed, width, n, diversity, padded):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randperm(12, generator=generator)[:8] + 1 for _ in range(4)])
    # whole numbers, so that equal values are exactly equal
    scores = torch.randint(-3, 4, (4, 8), generator=generator).float().sort(1, descending=True).values
    ids[1, 8 - padded :], scores[1, 8 - padded :] = 0, -math.inf
    categories = torch.randint(0, 4, (13, width), generator=generator)
    categories[0] = 0
    found = diverse_items(ids, scores, categories, n, diversity)
    expected = plain_greedy(ids, scores, categories, n, diversity)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_a_small_case_by_hand():
    """The second choice is the best of another category; the third differs from one of the two only."""
    ids, scores = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0.9, 0.8, 0.75, 0.1]])
    categories = torch.tensor([[0], [1], [1], [2], [3]])
    assert diverse_items(ids, scores, categories, 3, 0.1)[0].tolist() == [[1, 3, 2]]
    assert diverse_items(ids, scores, categories, 3, 1.0)[0].tolist() == [[1, 3, 4]]
    assert diverse_items(ids, scores, categories, 3, 0.0)[0].tolist() == [[1, 2, 3]]


def test_items_of_several_categories_differ_if_they_share_none():
    ids, scores = torch.tensor([[1, 2, 3]]), torch.tensor([[0.9, 0.8, 0.7]])
    categories = torch.tensor([[0, 0], [1, 2], [2, 3], [3, 4]])
    assert diverse_items(ids, scores, categories, 2, 1.0)[0].tolist() == [[1, 3]]


def test_the_inputs_are_left_as_they_were():
    ids, scores = torch.tensor([[1, 2, 3]]), torch.tensor([[0.9, 0.8, 0.7]])
    categories = torch.tensor([[0, 0], [1, 2], [2, 0], [3, 4]])
    copies = [value.clone() for value in (ids, scores, categories)]
    diverse_items(ids, scores, categories, 2, 1.0)
    assert all(torch.equal(*pair) for pair in zip(copies, (ids, scores, categories), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 4}, r"n must be in 1 … 3, the number of candidates, got 4"),
        ({"n": 0}, r"n must be in 1 … 3, the number of candidates, got 0"),
        ({"diversity": -0.1}, "diversity must be a number of at least 0, got -0.1"),
        ({"diversity": math.nan}, "diversity must be a number of at least 0, got nan"),
        (
            {"scores": torch.zeros(1, 2)},
            r"ids and scores must both have shape \(B, C\), got \(1, 3\) and \(1, 2\)",
        ),
        ({"categories": torch.zeros(4)}, r"categories must have shape \(num_items \+ 1, W\), got \(4,\)"),
        ({"categories": torch.zeros(3, 1, dtype=torch.long)}, "ids must hold item ids in 0 … 2"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        diverse_items(**{**FITTING, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 2.0}, "n must be an integer, got 2.0"),
        ({"n": True}, "n must be an integer, got True"),
        ({"diversity": "1"}, "diversity must be a number, got '1'"),
        ({"diversity": True}, "diversity must be a number, got True"),
        ({"diversity": torch.ones(2)}, "diversity must be a number, got tensor"),
        ({"ids": [[1, 2, 3]]}, "ids must be a tensor, got list"),
        ({"ids": torch.ones(1, 3)}, "ids must hold integer item ids, got torch.float32"),
        ({"scores": np.zeros((1, 3))}, "scores must be a tensor, got ndarray"),
        ({"scores": torch.ones(1, 3).long()}, "scores must be floating-point numbers, got torch.int64"),
        ({"categories": torch.zeros(4, 1)}, "categories must hold integer ids, got torch.float32"),
    ],
)
def test_types_that_do_not_fit(arguments, message):
    with pytest.raises(TypeError, match=message):
        diverse_items(**{**FITTING, **arguments})


def test_a_negative_category_is_refused():
    with pytest.raises(ValueError, match="categories must hold ids of at least 0, 0 = no more, got -1"):
        diverse_items(torch.tensor([[1, 2]]), torch.zeros(1, 2), torch.tensor([[0], [1], [-1]]), 1, 0.1)


@pytest.mark.parametrize("diversity", [0.0, 1.0])
def test_nan_ranks_last_and_is_an_item(diversity):
    ids, scores = torch.tensor([[1, 2, 3, 4, 0]]), torch.tensor([[9.0, math.nan, 7.0, 6.0, math.nan]])
    categories = torch.tensor([[0], [1], [1], [2], [2]])
    found, values = diverse_items(ids, scores, categories, 5, diversity)
    assert found.tolist() == [[1, 3, 4, 2, 0]]
    assert values.tolist() == [[9.0, 7.0, 6.0, torch.finfo(torch.float32).min, -math.inf]]


def test_a_weight_beyond_the_range_of_the_scores():
    ids, categories = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0], [1], [1], [2], [2]])
    scores = torch.tensor([[9.0, 8.0, 7.0, 6.0]])
    for weight in (1e5, 1e30, 1e308):
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            found, values = diverse_items(ids, scores.to(dtype), categories, 4, weight)
            assert found.tolist() == [[1, 3, 2, 4]]
            assert values.dtype == dtype


@pytest.mark.parametrize("width", [1, 3])
def test_categories_may_be_hashes(width):
    generator = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.randperm(12, generator=generator)[:8] + 1 for _ in range(4)])
    scores = torch.randn(4, 8, generator=generator).sort(1, descending=True).values
    categories = torch.randint(0, 4, (13, width), generator=generator)
    categories[0] = 0
    expected = diverse_items(ids, scores, categories, 6, 0.5)
    found = diverse_items(ids, scores, categories * 10**17, 6, 0.5)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


# ---------------------------------------------------------------------- in models


@pytest.fixture(scope="module")
def model():
    model = small_model(YouTubeDNN, **ITEM_FEATURES)
    fit(model, FeaturedData())
    return model


@pytest.mark.parametrize("category", ["genre", "tags"])
def test_recommendations_are_the_diverse_ones_of_the_best(model, category):
    ids, scores = model.recommend(HISTORIES, 20)
    data = FeaturedData().features[0]
    (values,) = (feature.values for feature in data if feature.name == category)
    expected = plain_greedy(ids, scores, values, 6, 0.05)
    found = model.recommend(HISTORIES, 6, diversity=0.05, category=category, candidates=20)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    by_default = model.recommend(HISTORIES, 4, diversity=0.05, category=category)
    explicit = model.recommend(HISTORIES, 4, diversity=0.05, category=category, candidates=20)
    assert torch.equal(by_default[0], explicit[0])


def test_more_diversity_gives_more_genres(model):
    genre = FeaturedData().features[0][0].values[:, 0]

    def genres(diversity):
        ids, _ = model.recommend(HISTORIES, 8, diversity=diversity, category="genre", candidates=40)
        return [len(set(row.tolist())) for row in genre[ids]]

    assert genres(10.0) == [4, 4, 4]
    assert min(genres(0.0)) < 4


def test_no_diversity_gives_exactly_the_plain_result(model):
    plain = model.recommend(HISTORIES, 9)
    for arguments in ({"category": "genre"}, {"diversity": 0.0}, {"candidates": 30}):
        for one, other in zip(plain, model.recommend(HISTORIES, 9, **arguments), strict=True):
            assert torch.equal(one, other)


def test_where_candidates_run_out_the_rest_is_empty(model):
    histories = [list(range(1, 38))]
    ids, scores = model.recommend(histories, 5, True, diversity=0.1, category="genre")
    assert sorted(ids[0, :3].tolist()) == [38, 39, 40]
    assert ids[0, 3:].tolist() == [0, 0]
    assert scores[0, 3:].tolist() == [-math.inf] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"diversity": 0.1}, "diversity=0.1 needs a category: name an item feature that holds it"),
        ({"diversity": -1.0, "category": "genre"}, "diversity must be a number of at least 0, got -1.0"),
        (
            {"diversity": 0.1, "category": "genr"},
            "category 'genr' is not among the features; did you mean 'genre'.: it must be one of",
        ),
        ({"category": "genr"}, "category 'genr' is not among the features"),
        ({"category": "price"}, "category 'price' is a number: it must be one of genre, tags"),
        ({"diversity": 0.1, "category": "genre", "candidates": 4}, "candidates must be in n = 5 … 40, got 4"),
        (
            {"diversity": 0.1, "category": "genre", "candidates": 41},
            "candidates must be in n = 5 … 40, got 41",
        ),
    ],
)
def test_mistakes(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.recommend(HISTORIES, 5, **arguments)


@pytest.mark.parametrize(("cls", "arguments"), [(ComiRecSA, {}), (MatrixFactorization, {"num_users": 60})])
def test_a_model_without_item_features_says_so(cls, arguments):
    model = cls(40, embedding_dim=8, ns=(5,), **arguments)
    message = f"category='genre': this {cls.__name__} has no item features; give the data item_features"
    with pytest.raises(ValueError, match=message):
        model.recommend([[1], [2]], 5, users=torch.tensor([1, 2]), diversity=0.1, category="genre")
