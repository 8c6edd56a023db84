"""The graph that smooths a model's items: what it may be, and where its edges come from."""

from __future__ import annotations

import math

from lightning_croloss.common.checks import check_counts
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.models.layers.item_graph import ItemGraph


def check_item_graph(weight: float, window: int, use_item_id: bool, sparse_gradients: bool | None) -> None:
    """Refuse a smoothing that cannot be.

    Args:
        weight: ``item_graph_weight`` of a model.
        window: its ``item_graph_window``.
        use_item_id: whether items have embeddings of their ids.
        sparse_gradients: what the user says of sparse gradients.

    Raises:
        ValueError: a number is out of range, there are no ids to smooth, or their gradients are to be sparse.
    """
    if not 0.0 <= weight < math.inf:
        raise ValueError(f"item_graph_weight must be a number of at least 0, got {weight}")
    check_counts(item_graph_window=window)
    if weight and not use_item_id:
        raise ValueError(
            f"item_graph_weight={weight} smooths the embeddings of the items' ids, which use_item_id=False "
            "leaves out: set use_item_id, or item_graph_weight to 0"
        )
    if weight and sparse_gradients:
        raise ValueError(
            f"sparse_gradients=True and item_graph_weight={weight}: each step reaches the rows of all items "
            "through the graph; leave one of them out"
        )


def take_item_graph(graph: ItemGraph, data: RetrievalDataModule | None, stage: str) -> None:
    """Take the edges from the training events; a model that has edges keeps them unless it is trained.

    Args:
        graph: the graph.
        data: the data; None = loaders of one's own.
        stage: "fit", "validate", "test" or "predict".

    Raises:
        ValueError: there is nothing to train along.
    """
    if data is not None and (stage == "fit" or not graph.num_edges):
        graph.set_events(*data.training_pairs)
    if stage == "fit" and not graph.num_edges:
        raise ValueError(
            "item_graph_weight smooths along the events of training: give the trainer a data module of this "
            "package, or call model.item_embedding.graph.set_events(users, items) before"
        )
