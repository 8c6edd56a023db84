"""Edges: the edges of a graph as part of a model's state, as many as the data has."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.models.layers.adjacency import Adjacency

#: Name of the edges in the state of a graph.
EDGES = "edges"


class Edges(nn.Module):
    """Base of the graphs that are made of training events and travel with the weights.

    The edges are part of a model's state, under ``edges``: int32, the nodes at the two ends and whatever else
    is known of each edge, in ascending order. So a checkpoint computes the vectors that training computed,
    without the data, whatever was done to its weights meanwhile (averaged, stored in half precision), which
    tables of propagated vectors would not. Their number follows from the data, so they are no buffer of a
    fixed size; what a file holds is checked before it is taken.

    Attributes:
        num_rows: number of rows of the tensor of edges.
    """

    num_rows = 2

    def __init__(self) -> None:
        super().__init__()
        self._edges = torch.zeros(self.num_rows, 0, dtype=torch.int32, device="cpu")
        self._adjacency: Adjacency | None = None

    @property
    def edges(self) -> Tensor:
        """(num_rows, E) int32, ascending; on the CPU."""
        return self._edges

    @property
    def num_edges(self) -> int:
        """Number of edges; 0 until they are set."""
        return self._edges.shape[1]

    def isolated(self, vectors: Tensor) -> Tensor:
        """Return (rows, 1) bool: which nodes have no edge; on the device of ``vectors``."""
        return self.adjacency_for(vectors).isolated

    def check_edges(self, edges: object) -> None:
        """Refuse what is not the edges of such a graph.

        Raises:
            ValueError: naming what is wrong.
        """
        if not isinstance(edges, Tensor) or edges.layout != torch.strided or edges.dtype != torch.int32:
            raise ValueError("the edges of its graph are not a tensor of int32")
        if edges.dim() != 2 or len(edges) != self.num_rows:
            raise ValueError(
                f"the edges of its graph have the shape {tuple(edges.shape)} instead of ({self.num_rows}, E)"
            )
        if edges.is_meta or not edges.numel():
            return
        if edges.numel() * edges.element_size() > edges.untyped_storage().nbytes():
            raise ValueError("the edges of its graph are declared larger than what is there of them")
        self._check_values(edges)

    @abstractmethod
    def _check_values(self, edges: Tensor) -> None:
        """Raise ``ValueError`` unless the values (num_rows, E) of at least one edge are those of edges."""

    @abstractmethod
    def _make_adjacency(self) -> Adjacency:
        """Return the normalised matrix of the edges, on the CPU in float64."""

    def adjacency_for(self, like: Tensor) -> Adjacency:
        """Return the matrix on the device of a tensor, in the type that its product is summed in."""
        found, dtype = self._adjacency, wide(like)
        if found is None or found.weights.dtype != dtype or found.weights.device != like.device:
            with torch.inference_mode(False), torch.no_grad():  # it outlives an evaluation
                made = self._make_adjacency()
                made = made._replace(weights=made.weights.to(dtype))
                found = Adjacency(*(part.to(like.device) for part in made))
            self._adjacency = found
        return found

    def take(self, edges: Tensor) -> None:
        """Take edges that are checked or made; they replace all before."""
        self._edges, self._adjacency = edges.detach().to("cpu", torch.int32), None

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
        self.take(edges.clone())


def wide(vectors: Tensor) -> torch.dtype:
    """Return the type to add up vectors in: float32 at least."""
    return torch.float64 if vectors.dtype == torch.float64 else torch.float32


def check_events(users: Tensor, items: Tensor) -> None:
    """Refuse events (E,) that are not an item for each user.

    Raises:
        ValueError: naming the shapes.
    """
    if users.dim() != 1 or users.shape != items.shape:
        raise ValueError(
            f"users and items must hold an id for each event, got {tuple(users.shape)} and "
            f"{tuple(items.shape)}"
        )
