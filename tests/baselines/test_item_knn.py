"""Item kNN, against a naive computation."""

import math
import tracemalloc

import numpy as np
import pytest
import torch

from lightning_croloss.data import Interactions
from tests.data_for_tests import ClusteredData

pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss.baselines.item_knn import (
    ItemKNN,
    TooManyNeighboursError,
    item_similarity,
    nearest_items,
)


def naive_similarity(data):
    """Return the cosines between the items' sets of training users."""
    events, training = data.interactions, data.rows.training_events
    users_of = {item: set() for item in range(1, data.num_items + 1)}
    for user, item, chosen in zip(events.users, events.items, training, strict=True):
        if chosen:
            users_of[int(item)].add(int(user))
    matrix = np.zeros((data.num_items, data.num_items))
    for one, first in users_of.items():
        for other, second in users_of.items():
            if one != other and first and second:
                both = len(first & second)
                matrix[one - 1, other - 1] = both / math.sqrt(len(first) * len(second))
    return matrix


def test_the_similarity_of_items():
    data = ClusteredData()
    np.testing.assert_allclose(item_similarity(data).toarray(), naive_similarity(data), atol=1e-12)


@pytest.mark.parametrize(("neighbours", "recent"), [(3, 1), (3, 10), (40, 2)])
def test_the_votes_of_the_recent_items(neighbours, recent):
    data = ClusteredData()
    histories = [[0, 0, 7, 3, 9], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]]
    counts = data.item_counts[1:]
    knn = ItemKNN(item_similarity(data), counts, neighbours, recent)
    got = knn.scores(torch.tensor(histories)).numpy()
    similarity = naive_similarity(data)
    for row, history in enumerate(histories):
        expected = counts.double().numpy() / int(counts.max()) * 1e-6
        for item in [item for item in history[-recent:] if item]:
            ranked = sorted(range(40), key=lambda other: (-similarity[item - 1, other], other))
            for other in ranked[:neighbours]:
                expected[other] += similarity[item - 1, other]
        np.testing.assert_allclose(got[row], expected, atol=1e-12)


@pytest.mark.parametrize("block", [1, 7, 100, 10**9])
@pytest.mark.parametrize("neighbours", [3, 40])
def test_blocks_change_nothing(monkeypatch, block, neighbours):
    data = ClusteredData()
    whole = nearest_items(item_similarity(data), neighbours)
    monkeypatch.setattr("lightning_croloss.baselines.item_knn.BLOCK", block)
    found = item_similarity(data, neighbours)
    assert found.shape == whole.shape
    assert (found != whole).nnz == 0  # in every bit


class OneUserOfAll(ClusteredData):
    """One user who had each of many items once, and others of few."""

    def load(self):
        items = 1_500
        users = np.concatenate([np.zeros(items, dtype=int), np.repeat(np.arange(1, 21), 5)])
        bought = np.concatenate([np.arange(items), np.arange(100) % 50])
        return Interactions.from_columns(users, bought, np.arange(len(users)))


def test_a_user_of_many_items_takes_little_memory(monkeypatch):
    data = OneUserOfAll()
    data.rows  # noqa: B018
    monkeypatch.setattr("lightning_croloss.baselines.item_knn.BLOCK", 2**16)
    tracemalloc.start()
    try:
        found = item_similarity(data, 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.diff(found.indptr).max() == 20
    assert peak < 25 * 2**20  # 1500² pairs of 60 bytes are 129 MiB


def test_more_neighbours_than_memory_holds_are_refused(monkeypatch):
    data = ClusteredData()
    monkeypatch.setattr("lightning_croloss.baselines.item_knn.MOST", 40 * 5 - 1)
    assert item_similarity(data, 4).nnz == 40 * 4
    with pytest.raises(
        TooManyNeighboursError, match="would keep 200 neighbours of 40 items, and more than 199 take too"
    ):
        item_similarity(data, 5)


@pytest.mark.parametrize("neighbours", [1, 3, 9, 40])
def test_the_nearest_few_are_among_the_nearest_many(neighbours):
    similarity = item_similarity(ClusteredData())
    found = nearest_items(nearest_items(similarity, 10), neighbours)
    assert (found != nearest_items(similarity, min(neighbours, 10))).nnz == 0
    assert np.diff(found.indptr).max() == min(neighbours, np.diff(similarity.indptr).max(), 10)
