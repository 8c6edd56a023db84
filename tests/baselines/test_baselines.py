"""The simple baselines, against naive computations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.data import DataRequest
from lightning_croloss.retrieval import target_ranks
from tests.data_for_tests import ClusteredData

pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss.baselines import item_knn as baselines
from lightning_croloss.baselines.item_knn import (
    ItemKNN,
    Popularity,
    baseline_ranks,
    item_similarity,
    measure_baselines,
)

NS = (5, 10, 20)


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


def test_popularity_counts_training_events():
    data = ClusteredData()
    scores = Popularity(data).scores(torch.zeros(2, 3, dtype=torch.long))
    assert torch.equal(scores, data.item_counts[1:].double().expand(2, -1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_ranks_are_those_of_the_models(seed, excludes):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (5, 12), generator=generator).double()  # many ties
    targets = torch.stack([torch.randperm(12, generator=generator)[:3] + 1 for _ in range(5)])
    targets[torch.rand(5, 3, generator=generator) < 0.3] = 0
    excluded = torch.randint(0, 13, (5, 4), generator=generator) if excludes else None
    expected = target_ranks(scores.unsqueeze(1), torch.eye(12).double(), targets, excluded=excluded)
    assert torch.equal(baseline_ranks(scores, targets, excluded), expected)


def test_item_knn_learns_the_clusters_and_popularity_does_not(monkeypatch):
    data = ClusteredData()
    monkeypatch.setattr(baselines, "ROWS", 7)  # pieces of batches
    found = measure_baselines(data, NS, exclude_history=True, choose_by=10)
    assert found["item_knn"]["test"]["recall@10"] == 1.0  # ten items in a cluster
    assert found["popularity"]["test"]["recall@10"] < 0.6
    assert found["item_knn"]["setting"].keys() == {"neighbours", "recent"}
    assert data.request == DataRequest()
    monkeypatch.setattr(baselines, "ROWS", 1000)
    assert measure_baselines(data, NS, exclude_history=True, choose_by=10) == found
    assert measure_baselines(data, NS, exclude_history=False, choose_by=10) != found


def test_settings_are_chosen_on_validation(monkeypatch):
    monkeypatch.setattr(baselines, "NEIGHBOURS", (1, 40))
    monkeypatch.setattr(baselines, "RECENT", (1000,))
    data = ClusteredData()
    found = measure_baselines(data, NS, exclude_history=True, choose_by=5)
    counts, similarity = data.item_counts[1:], item_similarity(data)
    data.prepare_for(DataRequest(whole_history=True))
    recalls = {
        k: baselines._evaluate(ItemKNN(similarity, counts, k, 1000), data.val_dataloader(), [5], True)[
            "recall@5"
        ]
        for k in (1, 40)
    }
    assert recalls[1] != recalls[40]
    assert found["item_knn"]["setting"]["neighbours"] == max(recalls, key=recalls.__getitem__)
    assert found["item_knn"]["valid"] == max(recalls.values())
