"""The most popular items."""

import torch

from lightning_croloss.baselines.popularity import Popularity
from tests.data_for_tests import ClusteredData


def test_popularity_counts_training_events():
    data = ClusteredData()
    scores = Popularity(data).scores(torch.zeros(2, 3, dtype=torch.long))
    assert torch.equal(scores, data.item_counts[1:].double().expand(2, -1))
