"""A layer of NGCF: messages of the neighbours themselves, and of what they share with the receiver."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.models.layers.graph import InteractionGraph

#: What negative values are multiplied by, as in the authors' code.
NEGATIVE_SLOPE = 0.2


class BiInteraction(nn.Module):
    """``LeakyReLU((L + I) E W₁ + (L E ⊙ E) W₂)``, with L the normalised adjacency matrix of the graph.

    Wang et al., "Neural Graph Collaborative Filtering", SIGIR 2019, equation 7. In training
    ``node_dropout`` silences nodes: they send nothing to their neighbours, and keep what they are; the others
    send more for it. ``message_dropout`` drops components of the outcome, as the authors' code does.

    Args:
        input_dim: width of the vectors that come in.
        output_dim: width of those that come out.
        node_dropout: probability that a node sends nothing in training.
        message_dropout: probability that a component of the outcome is dropped in training.
    """

    def __init__(
        self, input_dim: int, output_dim: int, node_dropout: float = 0.0, message_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.node_dropout, self.message_dropout = node_dropout, message_dropout
        self.own = nn.Linear(input_dim, output_dim, bias=False)
        self.shared = nn.Linear(input_dim, output_dim, bias=False)
        for linear in (self.own, self.shared):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, vectors: Tensor, graph: InteractionGraph) -> Tensor:
        """Map the vectors (num_nodes, input_dim) of all nodes to (num_nodes, output_dim)."""
        sent = vectors
        if self.training and self.node_dropout:
            sent = vectors * functional.dropout(torch.ones_like(vectors[:, :1]), self.node_dropout)
        neighbours = graph(sent)
        found = self.own(vectors + neighbours) + self.shared(neighbours * vectors)
        return functional.dropout(
            functional.leaky_relu(found, NEGATIVE_SLOPE), self.message_dropout, self.training
        )
