"""InteractionGraph: who used what, as a graph along whose edges vectors are propagated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Name of the edges in the state of the graph.
EDGES = "edges"


class InteractionGraph(nn.Module):
    """The graph of users and items, with an edge wherever a user had an item in training.

    ``forward`` multiplies by its adjacency matrix, normalised symmetrically: with ``d`` the number of edges
    of a node, an edge of user u and item i weighs ``1 / sqrt(d_u d_i)``. An event that repeats is one edge.
    The nodes are the users 1 … num_users, then the items 1 … num_items; there is none for id 0.

    The edges are part of a model's state, under ``edges``: (2, E) int32, the users' ids over the items', in
    ascending order. So a checkpoint computes the vectors that training computed, without the data, whatever
    was done to its weights meanwhile (averaged, stored in half precision), which tables of propagated vectors
    would not; and edges are smaller than such tables, 8 bytes each. Their number follows from the data, so
    they are no buffer of a fixed size; what a file holds is checked before it is taken.

    The product is summed row by row, each in the order of its edges: the same bits in every run with the same
    number of threads, on an accelerator too as far as ``torch.nn.functional.embedding_bag`` is.

    Args:
        num_users: number of users.
        num_items: size of the catalogue.
    """

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__()
        self.num_users, self.num_items = num_users, num_items
        self._edges = torch.zeros(2, 0, dtype=torch.int32)
        self._matrix: _Matrix | None = None

    @property
    def edges(self) -> Tensor:
        """(2, E) int32: ids of users over those of items, ascending; on the CPU."""
        return self._edges

    @property
    def num_edges(self) -> int:
        """Number of edges; 0 until they are set."""
        return self._edges.shape[1]

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
        if users.dim() != 1 or users.shape != items.shape:
            raise ValueError(
                f"users and items must hold an id for each event, got {tuple(users.shape)} and "
                f"{tuple(items.shape)}"
            )
        for name, ids, most in (("users", users, self.num_users), ("items", items, self.num_items)):
            if ids.numel() and not 1 <= int(ids.min()) <= int(ids.max()) <= most:
                raise ValueError(f"{name} must hold ids 1 … {most}, got {int(ids.min())} … {int(ids.max())}")
        pairs = (users.long().cpu() * (self.num_items + 1) + items.long().cpu()).unique()
        found = torch.stack([pairs // (self.num_items + 1), pairs % (self.num_items + 1)])
        self._edges, self._matrix = found.to(torch.int32), None

    def check_edges(self, edges: object) -> None:
        """Refuse what is not the edges of a graph of these users and items.

        Raises:
            ValueError: naming what is wrong.
        """
        if not isinstance(edges, Tensor) or edges.layout != torch.strided or edges.dtype != torch.int32:
            raise ValueError("the edges of its graph are not a tensor of int32")
        if edges.dim() != 2 or len(edges) != 2:
            raise ValueError(f"the edges of its graph have the shape {tuple(edges.shape)} instead of (2, E)")
        if edges.is_meta or not edges.numel():
            return
        if edges.numel() * edges.element_size() > edges.untyped_storage().nbytes():
            raise ValueError("the edges of its graph are declared larger than what is there of them")
        (first_user, last_user), (first_item, last_item) = (row.aminmax() for row in edges)
        if not (1 <= first_user <= last_user <= self.num_users):
            raise ValueError(f"the edges of its graph have other users than 1 … {self.num_users}")
        if not (1 <= first_item <= last_item <= self.num_items):
            raise ValueError(f"the edges of its graph have other items than 1 … {self.num_items}")
        pairs = edges[0].long() * (self.num_items + 1) + edges[1]
        if bool((pairs.diff() <= 0).any()):
            raise ValueError("the edges of its graph are not in ascending order, or come twice")

    def forward(self, vectors: Tensor, edge_weights: Tensor | None = None) -> Tensor:
        """Return for each node the weighted sum of its neighbours' vectors, zeros where it has none.

        Summed in float32 at least, and returned in the type of the vectors.

        Args:
            vectors: (num_nodes, D).
            edge_weights: (E,) what the weight of each edge is multiplied by, without gradient; None = 1.

        Returns:
            (num_nodes, D).
        """
        wide = vectors.to(_wide(vectors))
        matrix = self._matrix_for(vectors)
        if edge_weights is not None:
            matrix = matrix._replace(weights=matrix.weights * edge_weights.to(wide)[matrix.edge_of])
        found: Tensor = _Product.apply(wide, matrix)  # type: ignore[no-untyped-call]
        return found.to(vectors.dtype)

    def isolated(self, vectors: Tensor) -> Tensor:
        """Return (num_nodes, 1) bool: which nodes have no edge; on the device of ``vectors``."""
        return self._matrix_for(vectors).isolated

    def draw_edges(self, probability: float, device: torch.device) -> Tensor:
        """Return ``edge_weights`` that drop each edge with a probability and make up for it in the others."""
        return functional.dropout(torch.ones(self.num_edges, device=device), probability)

    def _matrix_for(self, like: Tensor) -> _Matrix:
        """Return the matrix on the device of a tensor, in a type that its product is summed in."""
        found, dtype = self._matrix, _wide(like)
        if found is None or found.weights.dtype != dtype or found.weights.device != like.device:
            with torch.inference_mode(False), torch.no_grad():  # it outlives an evaluation
                made = _matrix_of(self._edges, self.num_users, self.num_items)
                weights = made.weights.to(dtype)
                found = _Matrix(*(part.to(like.device) for part in made._replace(weights=weights)))
            self._matrix = found
        return found

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + EDGES] = self._edges

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take the edges of a state, however many they are."""
        edges = state_dict.get(prefix + EDGES)
        if edges is None:
            missing_keys.append(prefix + EDGES)
            return
        try:
            self.check_edges(edges)
        except ValueError as error:
            error_msgs.append(str(error))
            return
        self._edges, self._matrix = edges.detach().cpu().clone(), None


class _Matrix(NamedTuple):
    """The normalised adjacency matrix by rows, those of the users before those of the items.

    Attributes:
        starts: (num_nodes + 1,) where the entries of each row begin, and where the last ends.
        columns: (2 E,) the nodes at the other ends.
        edge_of: (2 E,) the number of the edge that an entry is of.
        weights: (2 E,) the entries.
        isolated: (num_nodes, 1) bool, the rows without entries.
    """

    starts: Tensor
    columns: Tensor
    edge_of: Tensor
    weights: Tensor
    isolated: Tensor


def _wide(vectors: Tensor) -> torch.dtype:
    """Return the type to add up vectors in."""
    return torch.float64 if vectors.dtype == torch.float64 else torch.float32


def _matrix_of(edges: Tensor, num_users: int, num_items: int) -> _Matrix:
    users, items = edges.long()
    users, items = users - 1, items - 1
    degrees = torch.cat([users.bincount(minlength=num_users), items.bincount(minlength=num_items)])
    by_item = items.argsort(stable=True)
    weights = (degrees[users] * degrees[num_users + items]).double().rsqrt()
    edge_of = torch.cat([torch.arange(len(users)), by_item])
    return _Matrix(
        starts=torch.cat([degrees.new_zeros(1), degrees.cumsum(0)]),
        columns=torch.cat([num_users + items, users[by_item]]),
        edge_of=edge_of,
        weights=weights[edge_of],
        isolated=(degrees == 0).unsqueeze(1),
    )


class _Product(torch.autograd.Function):
    """The product of the matrix with vectors. It is symmetric: so is the gradient's way back."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, matrix: _Matrix) -> Tensor:
        ctx.matrix = matrix
        return functional.embedding_bag(
            matrix.columns,
            vectors,
            matrix.starts,
            mode="sum",
            per_sample_weights=matrix.weights,
            include_last_offset=True,
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient: Tensor = _Product.apply(gradients[0].contiguous(), ctx.matrix)  # type: ignore[no-untyped-call]
        return gradient, None
