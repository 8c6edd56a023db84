"""The best items against sorting all scores."""

import math

import pytest
import torch

from lightning_croloss.data import RetrievalBatch
from tests.data_for_tests import small_model

HISTORIES = [[3, 1, 2], [11, 12, 13, 14], [40]]


@pytest.mark.parametrize("exclude_history", [False, True])
def test_recommend_equals_sorting_all_scores(trained, exclude_history):
    ids, scores = trained.recommend(HISTORIES, n=7, exclude_history=exclude_history)
    assert ids.shape == scores.shape == (3, 7)
    trained.eval()
    for row, history in enumerate(HISTORIES):
        one = torch.zeros(1, 1, dtype=torch.long)
        batch = RetrievalBatch(history=torch.tensor([history]), targets=one, users=one[0])
        with torch.no_grad():
            expected = trained.encode_items(None) @ trained.encode_users(batch)[0, 0]
        if exclude_history:
            expected[torch.tensor(history) - 1] = -math.inf
        order = expected.argsort(descending=True)[:7]
        assert ids[row].tolist() == (order + 1).tolist()
        assert torch.allclose(scores[row], expected[order], atol=1e-6)


def test_recommend_leaves_out_the_whole_history(trained):
    ids, _ = trained.recommend([[20, 21, *HISTORIES[1]]], 40, exclude_history=True)
    assert not {20, 21, *HISTORIES[1]} & set(ids[0].tolist())


def test_recommend_without_enough_candidates(trained):
    ids, scores = trained.recommend([[1, 2, 3]], n=40, exclude_history=True)
    assert sorted(ids[0, :37].tolist()) == list(range(4, 41))
    assert ids[0, 37:].tolist() == [0, 0, 0]
    assert scores[0, 37:].tolist() == [-math.inf] * 3


@pytest.mark.parametrize("training", [True, False])
def test_recommend_neither_drops_nor_changes_the_mode(trained, training):
    trained.train(training)
    assert torch.equal(trained.recommend(HISTORIES, 20)[1], trained.recommend(HISTORIES, 20)[1])
    with pytest.raises(ValueError, match="n must be"):
        trained.recommend(HISTORIES, 99)
    assert {module.training for module in trained.modules()} == {training}


def test_each_part_is_back_in_its_mode_afterwards():
    model = small_model()
    model.train()
    model.item_embedding.eval()
    model.recommend([[1, 2]], 3)
    assert model.training
    assert not model.item_embedding.training
