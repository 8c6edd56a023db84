"""The graphs of training events among a model's weights: kept in checkpoints, the same when a run goes on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lightning_croloss.models.layers.edges import EDGES, Edges


def graphs_of(model: nn.Module) -> dict[str, Edges]:
    """Return the graphs of a model by the names that their edges have among the weights."""
    return {f"{name}.{EDGES}": module for name, module in model.named_modules() if isinstance(module, Edges)}


def keep_graphs(model: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Put the edges into a checkpoint that is about to be written.

    An average of weights, which takes the weights' place there, is of a copy of the model that was made
    before there were edges.
    """
    for name, graph in graphs_of(model).items():
        checkpoint["state_dict"][name] = graph.edges


def check_same_graphs(model: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Refuse to go on with a run on another graph.

    Raises:
        ValueError: a graph of the checkpoint is another than that of the model.
    """
    for name, graph in graphs_of(model).items():
        theirs, ours = checkpoint["state_dict"].get(name), graph.edges
        if theirs is not None and not torch.equal(theirs.cpu(), ours):
            raise ValueError(
                f"the checkpoint was trained with a graph of {theirs.shape[1]:,} edges, but the training "
                f"events of the data make another of {ours.shape[1]:,}: go on with the data, the split and "
                "the arguments of the model that it was trained with"
            )
