"""Item kNN, against a naive computation."""

import math

import numpy as np
import pytest
import torch

from tests.data_for_tests import ClusteredData

pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss.baselines.item_knn import ItemKNN, item_similarity, nearest_items


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


@pytest.mark.parametrize("neighbours", [1, 3, 9, 40])
def test_the_nearest_few_are_among_the_nearest_many(neighbours):
    similarity = item_similarity(ClusteredData())
    found = nearest_items(nearest_items(similarity, 10), neighbours)
    assert (found != nearest_items(similarity, min(neighbours, 10))).nnz == 0
    assert np.diff(found.indptr).max() == min(neighbours, np.diff(similarity.indptr).max(), 10)
