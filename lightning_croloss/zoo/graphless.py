"""Models that hold the graph of their training events, for data whose events a folder may not hold."""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch

from lightning_croloss.configurable import class_path
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models import MatrixFactorization, RetrievalModel
from lightning_croloss.models.graph_model import GraphModel
from lightning_croloss.models.graphs import graphs_of
from lightning_croloss.models.layers.smoothed_embedding import SmoothedEmbedding
from lightning_croloss.pretrained.fine_tuning import ITEM_TABLE
from lightning_croloss.pretrained.safe_config import trusted_classes
from lightning_croloss.pretrained.saving import model_section
from lightning_croloss.recommend.top_items import evaluating

#: Users whose vectors are computed together.
_BLOCK = 4096


def holds_graph(model: RetrievalModel) -> bool:
    """Tell whether a model holds the graph of its training events."""
    return bool(graphs_of(model))


def without_graph(model: RetrievalModel) -> RetrievalModel:
    """Return what a model with a graph computes as a model that holds nothing of the graph.

    Args:
        model: the trained model: a ``GraphModel``, or one with ``item_graph_weight``.
    """
    return vectors_alone(model) if isinstance(model, GraphModel) else _smoothed_for_good(model)


def _smoothed_for_good(model: RetrievalModel) -> RetrievalModel:
    """Return the same architecture, whose embeddings of items are the smoothed ones."""
    section = {
        "class_path": model.hparams["_class_path"],
        "init_args": {**_arguments(model), "item_graph_weight": 0.0},
    }
    found = cast(RetrievalModel, trusted_classes(imported=True).build(section, type(model).__name__))
    state = {name: value for name, value in model.state_dict().items() if name not in graphs_of(model)}
    table = model.item_embedding
    assert isinstance(table, SmoothedEmbedding)
    with torch.no_grad():
        state[ITEM_TABLE] = table.table()
    found.load_state_dict(state)
    found.metadata = model.metadata
    return found.eval()


def vectors_alone(model: GraphModel) -> MatrixFactorization:
    """Return the vectors of a graph's users and items as a model that holds nothing of the graph.

    It gives the same lists: it is the vectors as the graph has made them, one for each user and each item,
    with the settings of the model. Trained further it is a matrix factorisation.

    Args:
        model: the trained model.
    """
    with torch.no_grad(), evaluating(model):
        items = model.encode_catalogue().float().cpu()
        users = [_vectors(model, ids) for ids in torch.arange(1, model.num_users + 1).split(_BLOCK)]
    taken = inspect.signature(RetrievalModel.__init__).parameters
    arguments = {name: value for name, value in _arguments(model).items() if name in taken}
    described = {
        "class_path": class_path(MatrixFactorization),
        "init_args": {**arguments, "num_users": model.num_users, "embedding_dim": items.shape[1]},
    }
    found = cast(MatrixFactorization, trusted_classes(imported=True).build(described, type(model).__name__))
    with torch.no_grad():
        found.user_embedding.weight[1:] = torch.cat(users)
        found.item_embedding.weight[1:] = items
    found.metadata = model.metadata
    return found.eval()


def own_section(model: RetrievalModel) -> dict[str, Any]:
    """Return the model as a config writes it, without the arguments that every architecture takes."""
    section = model_section(model)
    common = inspect.signature(RetrievalModel.__init__).parameters
    own = {
        name: value
        for name, value in section["init_args"].items()
        if name not in common and value not in ([], ())
    }
    return {**section, "init_args": own}


def _arguments(model: RetrievalModel) -> dict[str, Any]:
    return {name: value for name, value in model.hparams.items() if not name.startswith("_")}


def _vectors(model: RetrievalModel, ids: torch.Tensor) -> torch.Tensor:
    ids = ids.to(model.device)
    nothing = torch.zeros(len(ids), 1, dtype=torch.int64, device=model.device)
    batch = RetrievalBatch(history=nothing, targets=nothing, users=ids)
    return model.encode_users(batch)[:, 0].float().cpu()


__all__ = ["holds_graph", "own_section", "without_graph"]
