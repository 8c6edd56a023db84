"""Histories as lists and as tensors, empty and out of range."""

import pytest
import torch

from tests.data_for_tests import small_model

HISTORIES = [[3, 1, 2], [11, 12, 13, 14], [40]]


def test_recommend_takes_lists_and_padded_tensors(trained):
    padded = torch.tensor([[0, 3, 1, 2], [11, 12, 13, 14], [0, 0, 0, 40]])
    for got, expected in zip(trained.recommend(padded, 7), trained.recommend(HISTORIES, 7), strict=True):
        assert torch.equal(got, expected)


def test_recommend_reads_the_last_events_only(trained):
    assert trained.metadata.max_history == 4
    long, short = ([20, 21, *HISTORIES[1]], HISTORIES[1])
    assert torch.equal(*(trained.recommend([each], 40, exclude_history=False)[1] for each in (long, short)))
    fresh = small_model()  # has met no data, reads all
    different = fresh.recommend([[20, 21, *HISTORIES[1]]], 5)[1] != fresh.recommend([HISTORIES[1]], 5)[1]
    assert different.all()


@pytest.mark.parametrize("histories", [[[], [5]], [[]], torch.zeros(1, 0, dtype=torch.long)])
def test_recommend_for_empty_histories(trained, histories):
    ids, scores = trained.recommend(histories, n=5)
    assert ids.shape == (len(histories), 5)
    assert (ids > 0).all()
    assert torch.isfinite(scores).all()
    assert torch.equal(ids[0], trained.recommend(torch.tensor([[0, 0]]), n=5)[0][0])


def test_recommend_for_nobody(trained):
    assert trained.recommend([], n=5)[0].shape == (0, 5)


@pytest.mark.parametrize(
    ("histories", "n", "message"),
    [
        ([[1]], 41, "n must be in 1 … 40, the number of items, got 41"),
        ([[1]], 0, "n must be in 1 … 40"),
        ([[1], [2, 41]], 5, r"item ids 1 … 40 \(0 = padding\), got 0 … 41"),
        (torch.tensor([[-1, 3]]), 5, "got -1 … 3"),
    ],
)
def test_recommend_refuses(trained, histories, n, message):
    with pytest.raises(ValueError, match=message):
        trained.recommend(histories, n)
