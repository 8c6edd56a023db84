"""NGCF: embeddings of users and items, refined by layers along the edges of their graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import check_probability, check_widths
from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.models.graph_model import GraphModel
from lightning_croloss.models.layers.bi_interaction import BiInteraction


class NGCF(GraphModel):
    """Pass messages between users and items along training events, through weights and non-linearities.

    Wang et al., "Neural Graph Collaborative Filtering", SIGIR 2019, see ``layers.bi_interaction``. A vector
    is the embedding and what each layer makes of it, one after another, so that it is wider than
    ``embedding_dim``: by the widths of the layers. As in the authors' code the outcome of a layer has unit
    length there, while the next layer takes it as it is.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data.
        hidden_dims: width of each layer.
        node_dropout: probability that a user or item sends no messages in a layer of a training step.
        message_dropout: probability that a component of a layer's outcome is dropped in training.
        regularization: weight λ of ``λ / 2B`` times the squared lengths of the final vectors of a step's B
            users, their targets and the candidates; 0.00001 in the authors' code, with BPR and dot products.
        **kwargs: arguments of ``RetrievalModel``; not ``sparse_gradients``, as every row has a gradient.

    Raises:
        ValueError: an argument is out of range.
    """

    regularizes_outcome = True

    def __init__(
        self,
        num_items: int,
        num_users: int,
        hidden_dims: Sequence[int] = (64, 64, 64),
        node_dropout: float = 0.0,
        message_dropout: float = 0.1,
        regularization: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, num_users, regularization, **kwargs)
        check_widths(hidden_dims=hidden_dims)
        check_probability(node_dropout=node_dropout, message_dropout=message_dropout)
        widths = [self.embedding_dim, *hidden_dims]
        self.layers = nn.ModuleList(
            BiInteraction(before, after, node_dropout, message_dropout)
            for before, after in zip(widths, hidden_dims, strict=False)
        )

    def propagate(self, embeddings: Tensor) -> Tensor:
        """Return the embeddings beside the outcomes of all layers, (num_users + num_items, D')."""
        state, found = embeddings, [embeddings]
        for layer in self.layers:
            state = layer(state, self.graph)
            found.append(unit_length(state).to(embeddings.dtype))
        return torch.cat(found, dim=-1)
