"""Histories as lists and as tensors, empty and out of range."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from lightning_croloss import MIND, Caser, SASRec, YouTubeDNN
from lightning_croloss.recommend.histories import batch_of_histories
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


@pytest.mark.parametrize(
    "make",
    [
        np.array,
        torch.tensor,
        lambda rows: pd.Series(rows),
        lambda rows: pl.Series(rows),
        lambda rows: tuple(map(tuple, rows)),
        lambda rows: [np.array(row, dtype=np.uint8) for row in rows],
        lambda rows: [torch.tensor(row) for row in rows],
    ],
    ids=["array", "tensor", "pandas", "polars", "tuples", "arrays", "tensors"],
)
def test_recommend_takes_ids_of_every_kind(trained, make):
    rows = [[3, 1, 2], [11, 12, 13]]
    for got, expected in zip(trained.recommend(make(rows), 7), trained.recommend(rows, 7), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([["50", "181"]], r"histories\[0\] holds '50': item ids are integers; recommend_tokens takes tokens"),
        ([[1], [2, 1.7]], r"histories\[1\] holds 1\.7: item ids are integers"),
        ([[1, True]], r"histories\[0\] holds True"),
        ([[1, None]], r"histories\[0\] holds None"),
        ([[[1]]], r"histories\[0\] holds \[1\]"),
        ([1, 2], r"histories\[0\] must be a list of item ids, got 1"),
        ([[1], None], r"histories\[1\] must be a list of item ids, got None"),
        ([{1, 2}], r"histories\[0\] must be a list of item ids, got \{1, 2\}"),
        (["12"], r"histories\[0\] must be a list of item ids, got '12'"),
        ("12", "histories must be a list of lists of item ids, got '12'"),
        (5, "histories must be a list of lists of item ids, got 5"),
        ({"a": [1]}, "histories must be a list of lists of item ids"),
        (([1] for _ in range(2)), "histories must be a list of lists of item ids"),
        (pl.DataFrame({"a": [1, 2]}), "histories must be a list of lists of item ids, got a DataFrame"),
        (pd.DataFrame({"a": [1, 2]}), "histories must be a list of lists of item ids, got a DataFrame"),
        (np.array([1, 2]), r"histories\[0\] must be a list of item ids"),
        (torch.ones(1, 2), r"histories must hold item ids, which are integers, got torch\.float32"),
    ],
    ids=lambda value: (
        "" if isinstance(value, str) and value.startswith("histories") else type(value).__name__
    ),
)
def test_recommend_refuses_what_are_no_ids(trained, histories, message):
    with pytest.raises(TypeError, match=message):
        trained.recommend(histories, 5)


@pytest.mark.parametrize("number", [2**63, 2**70, -(2**70)])
def test_recommend_refuses_ids_beyond_64_bits(trained, number):
    with pytest.raises(ValueError, match=rf"histories\[0\] holds {number}, which is the id of no item"):
        trained.recommend([[1, number]], 5)


@pytest.mark.parametrize("n", [1.5, 3.0, "3", None, True])
def test_a_number_of_items_is_an_integer(trained, n):
    for call in (
        lambda: trained.recommend([[1]], n),
        lambda: trained.recommend_tokens([trained.metadata.item_vocabulary.tokens[:1]], n),
        lambda: trained.similar_items(trained.metadata.item_vocabulary.tokens[:1], n),
    ):
        with pytest.raises(TypeError, match=f"n must be an integer, got {n!r}: choose how many to return"):
            call()


def batch(histories, users=None, **limits):
    defaults = {"num_items": 40, "num_users": 0, "max_history": None, "device": torch.device("cpu")}
    return batch_of_histories(histories, users, **{**defaults, **limits})


def test_lists_are_padded_on_the_left_and_cut_to_the_last_events():
    found = batch([[3, 1, 2], [], [40]], torch.tensor([5, 0, 7]), max_history=2)
    assert found.history.tolist() == [[1, 2], [0, 0], [0, 40]]
    assert found.whole_history.tolist() == [[3, 1, 2], [0, 0, 0], [0, 0, 40]]
    assert found.users.tolist() == [5, 0, 7]
    assert found.targets.tolist() == [[0], [0], [0]]
    assert {value.dtype for value in (found.history, found.users, found.targets)} == {torch.int64}


@pytest.mark.parametrize("histories", [[[], []], torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.int32)])
def test_empty_histories_have_one_position(histories):
    assert batch(histories).history.tolist() == [[0], [0]]


def test_users_alone_have_no_events():
    found = batch(None, torch.tensor([1, 2], dtype=torch.int32), num_users=2)
    assert found.history.tolist() == [[0], [0]]
    assert (found.users.tolist(), found.users.dtype) == ([1, 2], torch.int64)
    with pytest.raises(ValueError, match="give histories, or users"):
        batch(None)


def test_users_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"one id for each of the 2 histories, got \(1,\)"):
        batch([[1], [2]], torch.tensor([1]))
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=rf"user ids 1 … 2 \(0 = unknown\), got {min(wrong, 1)} …"):
            batch([[1], [2]], torch.tensor([1, wrong]), num_users=2)
    assert batch([[1], [2]], torch.tensor([1, 99])).users.tolist() == [1, 99]  # of no use to the model


@pytest.mark.parametrize(("histories", "got"), [([[1], [2, 41]], "0 … 41"), ([[-1, 3]], "-1 … 3")])
def test_items_out_of_range_are_refused(histories, got):
    with pytest.raises(ValueError, match=rf"item ids 1 … 40 \(0 = padding\), got {got}"):
        batch(histories)


@pytest.mark.parametrize("cls", [YouTubeDNN, MIND, Caser, SASRec])
@pytest.mark.parametrize("behind", [1, 30])
def test_padding_may_stand_anywhere(cls, behind):
    """``pad_sequence`` pads on the right: nothing may be cut of the events then, nor any be moved."""
    torch.manual_seed(0)
    model = cls(num_items=40, embedding_dim=8, ns=(5,)).eval()
    model.metadata.max_history = 3
    expected = model.recommend([[4, 5, 6, 7], [8, 9]], 9, exclude_history=False)
    mixed = [[4, 0, 5, 6, 7] + [0] * behind, [8, 9, 0, 0, 0] + [0] * behind]
    for given in (mixed, torch.tensor(mixed), np.array(mixed)):
        found = model.recommend(given, 9, exclude_history=False)
        assert torch.equal(found[0], expected[0])
        torch.testing.assert_close(found[1], expected[1])
    for left_out in (mixed, torch.tensor(mixed)):
        ids, _ = model.recommend(left_out, 30, exclude_history=True)
        assert not {4, 5, 6, 7} & set(ids[0].tolist())
