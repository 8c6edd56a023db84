"""The measuring of the baselines: ranks, pieces of batches, and the choice of settings."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.data import DataRequest
from lightning_croloss.retrieval import target_ranks
from tests.data_for_tests import ClusteredData

pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss.baselines import (
    ItemKNN,
    baseline_ranks,
    item_similarity,
    measure_baselines,
    measuring,
    per_user,
)

NS = (5, 10, 20)


@settings(max_examples=60)
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
    monkeypatch.setattr(measuring, "ROWS", 7)  # pieces of batches
    found = measure_baselines(data, NS, exclude_history=True, choose_by=10)
    assert found["item_knn"]["test"]["recall@10"] == 1.0  # ten items in a cluster
    assert found["popularity"]["test"]["recall@10"] < 0.6
    assert found["item_knn"]["setting"].keys() == {"neighbours", "recent"}
    assert data.request == DataRequest()
    monkeypatch.setattr(measuring, "ROWS", 1000)
    assert measure_baselines(data, NS, exclude_history=True, choose_by=10) == found
    assert measure_baselines(data, NS, exclude_history=False, choose_by=10) != found


def test_settings_are_chosen_on_validation(monkeypatch):
    monkeypatch.setattr(measuring, "NEIGHBOURS", (1, 40))
    monkeypatch.setattr(measuring, "RECENT", (1000,))
    data = ClusteredData()
    found = measure_baselines(data, NS, exclude_history=True, choose_by=5)
    counts, similarity = data.item_counts[1:], item_similarity(data)
    data.prepare_for(DataRequest(whole_history=True))
    recalls = {
        k: measuring._evaluate(ItemKNN(similarity, counts, k, 1000), data.val_dataloader(), [5], True)[
            "recall@5"
        ]
        for k in (1, 40)
    }
    assert recalls[1] != recalls[40]
    assert found["item_knn"]["setting"]["neighbours"] == max(recalls, key=recalls.__getitem__)
    assert found["item_knn"]["valid"] == max(recalls.values())


@pytest.mark.parametrize("measure", ["measure_baselines", "measure_per_user"])
def test_rows_that_choose_are_spread_over_all_users(monkeypatch, measure):
    data, asked = ClusteredData(), []
    loader = data.evaluation_loader

    def noting(part, request, most=None):
        made = loader(part, request, most)
        asked.append((part, torch.cat([batch.users for batch in made])))
        return made

    monkeypatch.setattr(data, "evaluation_loader", noting)
    monkeypatch.setattr(measuring, "CHOOSING", 6)
    monkeypatch.setattr(per_user, "CHOOSING", 6)
    if measure == "measure_baselines":
        measure_baselines(data, NS, exclude_history=True, choose_by=10)
    else:
        per_user.measure_per_user(data, lambda values: values["recall@10"], [10], True, 1e6)
    every = torch.cat([batch.users for batch in loader("valid", DataRequest())])
    chosen = [users for part, users in asked if part == "valid"]
    assert chosen
    for users in chosen:
        assert users.equal(every[torch.arange(6) * len(every) // 6])
