"""What the tests of LightGCN and NGCF share."""

from typing import Any

import torch

from lightning_croloss import LightGCN, UniformNegatives
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.models.graph_model import GraphModel
from tests.data_for_tests import ClusteredData


def small(cls: type[GraphModel] = LightGCN, **kwargs: Any) -> Any:
    """Build a model for ``ClusteredData``, always with the same weights."""
    torch.manual_seed(0)
    defaults = {"num_items": 40, "num_users": 60, "embedding_dim": 8, "ns": (5, 10, 20)}
    return cls(**{**defaults, "negatives": UniformNegatives(30), **kwargs})


def with_graph(model: GraphModel, data: ClusteredData | None = None) -> Any:
    """Give a model the graph of the training events of data, as its training would."""
    data = data or ClusteredData()
    kept = data.rows.training_events
    model.graph.set_edges(data.interactions.users[kept], data.interactions.items[kept])
    return model


def batch_of(users: list[int], targets: list[int] | None = None) -> RetrievalBatch:
    """Make a batch of users without histories."""
    history = torch.zeros(len(users), 1, dtype=torch.int64)
    of_rows = history if targets is None else torch.tensor(targets).unsqueeze(1)
    return RetrievalBatch(history, of_rows, torch.tensor(users))
