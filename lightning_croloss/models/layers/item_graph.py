"""ItemGraph: which items stand near one another in the histories of training."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.models.layers.adjacency import Adjacency, adjacency_of, neighbor_sums
from lightning_croloss.models.layers.edges import Edges, check_events, wide


class ItemGraph(Edges):
    """The graph of the items, with an edge wherever two are at most ``window`` events apart in a history.

    The global graph of GCE-GNN (Wang et al., "Global Context Enhanced Graph Neural Networks for Session-based
    Recommendation", SIGIR 2020), without its attention: an edge is as strong as the number of times that its
    items stand so near, in either order. ``forward`` multiplies by the adjacency matrix, normalised
    symmetrically: with ``d`` the sum of an item's strengths, an edge weighs ``strength / sqrt(d_i d_j)``. An
    item is no neighbour of itself. The edges, (3, E), are ids of items, the lower over the higher, over the
    strengths: 12 bytes each.

    Args:
        num_items: size of the catalogue.
        window: the most events that neighbours are apart.
    """

    num_rows = 3

    def __init__(self, num_items: int, window: int) -> None:
        super().__init__()
        self.num_items, self.window = num_items, window

    def set_events(self, users: Tensor, items: Tensor) -> None:
        """Take the edges of events; the latest replace all before.

        Args:
            users: (E,) ids of the users of training events, those of one user together and in their order.
            items: (E,) ids of their items.

        Raises:
            ValueError: an id is out of range, or there is not an item for each user.
        """
        check_events(users, items)
        if items.numel() and not 1 <= int(items.min()) <= int(items.max()) <= self.num_items:
            raise ValueError(
                f"items must hold ids 1 … {self.num_items}, got {int(items.min())} … {int(items.max())}"
            )
        users, items, base = users.cpu(), items.long().cpu(), self.num_items + 1
        pairs, counts = items.new_zeros(0), items.new_zeros(0)
        for apart in range(1, min(self.window, max(len(items) - 1, 0)) + 1):
            earlier, later = items[:-apart], items[apart:]
            near = (users[apart:] == users[:-apart]) & (earlier != later)
            lower, higher = torch.minimum(earlier, later)[near], torch.maximum(earlier, later)[near]
            found, times = (lower * base + higher).unique(return_counts=True)
            pairs, place = torch.cat([pairs, found]).unique(return_inverse=True)
            counts = counts.new_zeros(len(pairs)).index_add(0, place, torch.cat([counts, times]))
        self.take(torch.stack([pairs // base, pairs % base, counts]))

    def forward(self, table: Tensor) -> Tensor:
        """Return the weighted sums of the neighbours' vectors, (num_items + 1, D), zeros where are none.

        Summed in float32 at least, and returned in the type of the vectors.

        Args:
            table: (num_items + 1, D), of which row 0 is nobody's neighbour.
        """
        return neighbor_sums(table.to(wide(table)), self.adjacency_for(table)).to(table.dtype)

    def _check_values(self, edges: Tensor) -> None:
        lower, higher, strengths = edges
        if not (int(lower.min()) >= 1 and int(higher.max()) <= self.num_items):
            raise ValueError(f"the edges of its graph have other items than 1 … {self.num_items}")
        if bool((lower >= higher).any()) or int(strengths.min()) < 1:
            raise ValueError("the edges of its graph are not between two items, or of no strength")
        if bool(((lower.long() * (self.num_items + 1) + higher).diff() <= 0).any()):
            raise ValueError("the edges of its graph are not in ascending order, or come twice")

    def _make_adjacency(self) -> Adjacency:
        lower, higher, strengths = self._edges.long()
        degrees = torch.zeros(self.num_items + 1, dtype=torch.int64, device=lower.device)
        degrees = degrees.index_add(0, lower, strengths).index_add(0, higher, strengths)
        return adjacency_of(lower, higher, degrees, strengths)
