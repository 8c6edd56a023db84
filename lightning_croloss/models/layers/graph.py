"""InteractionGraph: who used what, as a graph along whose edges vectors are propagated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.models.layers.adjacency import Adjacency, adjacency_of, neighbor_sums
from lightning_croloss.models.layers.edges import EDGES, Edges, check_events, wide


class InteractionGraph(Edges):
    """The graph of users and items, with an edge wherever a user had an item in training.

    ``forward`` multiplies by its adjacency matrix, normalised symmetrically: with ``d`` the number of edges
    of a node, an edge of user u and item i weighs ``1 / sqrt(d_u d_i)``. An event that repeats is one edge.
    The nodes are the users 1 … num_users, then the items 1 … num_items; there is none for id 0. The edges,
    (2, E), are the users' ids over the items', 8 bytes each.

    Args:
        num_users: number of users.
        num_items: size of the catalogue.
    """

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__()
        self.num_users, self.num_items = num_users, num_items

    @property
    def num_nodes(self) -> int:
        """Number of users and items."""
        return self.num_users + self.num_items

    def set_edges(self, users: Tensor, items: Tensor) -> None:
        """Take the edges of events; the latest replace all before.

        Args:
            users: (E,) ids of the users of training events, in any order.
            items: (E,) ids of their items.

        Raises:
            ValueError: an id is out of range, or there is not an item for each user.
        """
        check_events(users, items)
        for name, ids, most in (("users", users, self.num_users), ("items", items, self.num_items)):
            if ids.numel() and not 1 <= int(ids.min()) <= int(ids.max()) <= most:
                raise ValueError(f"{name} must hold ids 1 … {most}, got {int(ids.min())} … {int(ids.max())}")
        pairs = (users.long().cpu() * (self.num_items + 1) + items.long().cpu()).unique()
        found = torch.stack([pairs // (self.num_items + 1), pairs % (self.num_items + 1)])
        self.take(found)

    def forward(self, vectors: Tensor, edge_weights: Tensor | None = None) -> Tensor:
        """Return for each node the weighted sum of its neighbours' vectors, zeros where it has none.

        Summed in float32 at least, and returned in the type of the vectors.

        Args:
            vectors: (num_nodes, D).
            edge_weights: (E,) what the weight of each edge is multiplied by, without gradient; None = 1.

        Returns:
            (num_nodes, D).
        """
        summed = vectors.to(wide(vectors))
        matrix = self.adjacency_for(vectors)
        if edge_weights is not None:
            matrix = matrix._replace(weights=matrix.weights * edge_weights.to(summed)[matrix.edge_of])
        return neighbor_sums(summed, matrix).to(vectors.dtype)

    def draw_edges(self, probability: float, device: torch.device) -> Tensor:
        """Return ``edge_weights`` that drop each edge with a probability and make up for it in the others."""
        return functional.dropout(torch.ones(self.num_edges, device=device), probability)

    def _check_values(self, edges: Tensor) -> None:
        (first_user, last_user), (first_item, last_item) = (row.aminmax() for row in edges)
        if not (1 <= first_user <= last_user <= self.num_users):
            raise ValueError(f"the edges of its graph have other users than 1 … {self.num_users}")
        if not (1 <= first_item <= last_item <= self.num_items):
            raise ValueError(f"the edges of its graph have other items than 1 … {self.num_items}")
        pairs = edges[0].long() * (self.num_items + 1) + edges[1]
        if bool((pairs.diff() <= 0).any()):
            raise ValueError("the edges of its graph are not in ascending order, or come twice")

    def _make_adjacency(self) -> Adjacency:
        users, items = self._edges.long() - 1
        items = items + self.num_users
        return adjacency_of(users, items, torch.cat([users, items]).bincount(minlength=self.num_nodes))


__all__ = ["EDGES", "InteractionGraph"]
