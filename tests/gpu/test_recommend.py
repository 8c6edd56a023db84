"""Recommendations by ids and by tokens on the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.data_for_tests import events_of
from tests.gpu.architectures import ITEMS, build, data, train
from tests.gpu.device import DEVICE, is_on_device

pytestmark = pytest.mark.gpu

HISTORIES = [[1, 2, 3, 4, 5, 6, 7, 8], [11], [30, 11]]


@pytest.fixture(scope="module", params=["YouTubeDNN", "MIND", "SASRec", "HSTU, features of events"])
def models(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Train a model, and return it on the device and a copy on the CPU."""
    model, copy = build(request.param), build(request.param)
    train(model, limit_train_batches=3)
    copy.load_state_dict(model.state_dict())
    copy.metadata = model.metadata
    return model.to(DEVICE).eval(), copy.eval()


@pytest.mark.parametrize("exclude_history", [True, False])
def test_ids_are_those_of_the_cpu(models: tuple[Any, Any], exclude_history: bool) -> None:
    given = events_of(models[0], HISTORIES)
    found, scores = models[0].recommend(HISTORIES, 10, exclude_history, **given)
    expected, expected_scores = models[1].recommend(HISTORIES, 10, exclude_history, **given)
    assert is_on_device(found)
    assert is_on_device(scores)
    torch.testing.assert_close(scores.cpu(), expected_scores, rtol=1e-3, atol=1e-4)
    assert float((found.cpu() == expected).float().mean()) > 0.9  # near ties may change places


def test_tokens_are_those_of_the_cpu(models: tuple[Any, Any]) -> None:
    tokens = data().item_vocabulary.tokens
    histories = [[tokens[item - 1] for item in history] for history in HISTORIES] + [["nobody knows"]]
    options: dict[str, Any] = {"n": 8, "deny": [tokens[0]], "allow": tokens[: len(tokens) // 2]}
    options |= events_of(models[0], histories)
    here, there = (list(model.recommend_tokens(histories, **options)) for model in models)
    assert [len(user.tokens) for user in here] == [len(user.tokens) for user in there]
    for one, other in zip(here, there, strict=True):
        assert set(one.tokens) <= set(options["allow"]) - {tokens[0]}
        assert len(set(one.tokens) & set(other.tokens)) >= len(other.tokens) - 1


def test_similar_items(models: tuple[Any, Any]) -> None:
    tokens = data().item_vocabulary.tokens[:3]
    here, there = (list(model.similar_items(tokens, 5)) for model in models)
    for token, one, other in zip(tokens, here, there, strict=True):
        assert token not in one.tokens
        assert len(set(one.tokens) & set(other.tokens)) >= 4


def test_diverse_lists() -> None:
    model = build("YouTubeDNN")
    train(model, limit_train_batches=2)
    model.to(DEVICE).eval()
    plain, _ = model.recommend(HISTORIES, 6)
    diverse, _ = model.recommend(HISTORIES, 6, diversity=10.0, category="genre", candidates=ITEMS)
    categories = model.item_categories("genre")[:, 0]
    assert is_on_device(diverse)
    assert all(len(categories[row].unique()) == 4 for row in diverse)
    assert plain.shape == diverse.shape
