"""LightGCN: embeddings of users and items, averaged over their neighbourhoods."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.checks import check_not_negative, check_probability
from lightning_croloss.models.graph_model import GraphModel


class LightGCN(GraphModel):
    """Propagate the embeddings of users and items over the graph of training events, and nothing else.

    He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020:
    with A the symmetrically normalised adjacency matrix, ``E_k = A E_(k-1)``, and a vector is the mean of
    ``E_0 … E_K``. A user or item without edges keeps its own embedding. With no layers it is
    ``MatrixFactorization``.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data.
        num_layers: number K of steps along the edges; 3 in the paper.
        edge_dropout: probability that an edge is left out of a training step, in all layers and both
            directions; the others weigh more for it. The authors' code has it, and leaves it at 0.
        regularization: weight λ of ``λ / 2B`` times the squared lengths of the embeddings of a step's B
            users, their targets and the candidates; 0.0001 in the paper, with BPR and dot products.
        **kwargs: arguments of ``RetrievalModel``; not ``sparse_gradients``, as every row has a gradient.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_items: int,
        num_users: int,
        num_layers: int = 3,
        edge_dropout: float = 0.0,
        regularization: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, num_users, regularization, **kwargs)
        check_not_negative(num_layers=num_layers)
        check_probability(edge_dropout=edge_dropout)
        self.num_layers = num_layers
        self.edge_dropout = edge_dropout

    def propagate(self, embeddings: Tensor) -> Tensor:
        """Return the mean over the layers, (num_users + num_items, D)."""
        if not self.num_layers:
            return embeddings
        edge_weights = None
        if self.training and self.edge_dropout:
            edge_weights = self.graph.draw_edges(self.edge_dropout, embeddings.device)
        layer, total = embeddings, embeddings
        for _ in range(self.num_layers):
            layer = self.graph(layer, edge_weights)
            total = total + layer
        return torch.where(self.graph.isolated(embeddings), embeddings, total / (self.num_layers + 1))
