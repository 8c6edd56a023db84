"""SmoothedEmbedding: embeddings of items to which those of their neighbours in histories add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.models.layers.id_embedding import draw_ids
from lightning_croloss.models.layers.item_graph import ItemGraph
from lightning_croloss.models.layers.weight_state import state_of
from lightning_croloss.training.table_gradients import one_gradient


class SmoothedEmbedding(nn.Embedding):
    """The table ``E + weight · Â E``, with Â the normalised adjacency matrix of an ``ItemGraph``.

    An item that few histories hold so learns from all that its neighbours learn, in both roles, as an event
    and as a candidate. One layer of propagation, as of LightGCN (He et al., SIGIR 2020), among the items
    alone. Without edges it is the table E.

    The whole table is smoothed at once, once for all look-ups of a training step (:meth:`step`), which on a
    processor make one gradient of it, and kept between the batches of an evaluation as long as its weights
    stay.

    Args:
        num_items: size of the catalogue.
        dim: width D.
        neighbor_weight: what the neighbours' sum is multiplied by.
        window: see ``ItemGraph``.

    Attributes:
        weight: (num_items + 1, D), E; row 0 is zeros.
        graph: the graph.
    """

    def __init__(self, num_items: int, dim: int, neighbor_weight: float, window: int) -> None:
        super().__init__(num_items + 1, dim, padding_idx=0)
        draw_ids(self)
        self.neighbor_weight = neighbor_weight
        self.graph = ItemGraph(num_items, window)
        self._in_step, self._together = False, False
        self._of_step: tuple[Tensor, Callable[[Tensor], Tensor] | None] | None = None
        self._kept: tuple[tuple[Any, ...], Tensor, Tensor] | None = None

    def forward(self, ids: Tensor) -> Tensor:
        """Return the smoothed embeddings (..., D) of ids (...), zeros for id 0."""
        table = self.table()
        if self._of_step is not None and self._of_step[1] is not None:
            return self._of_step[1](ids)
        return functional.embedding(ids, table, padding_idx=0)

    @uncompiled
    def table(self) -> Tensor:
        """Return the smoothed embeddings of all ids, (num_items + 1, D)."""
        if self._in_step:
            if self._of_step is None:
                smoothed = self._smoothed()
                together = self._together and smoothed.is_cpu and smoothed.requires_grad
                self._of_step = one_gradient(smoothed, 0, SpareMemory()) if together else (smoothed, None)
            return self._of_step[0]
        if self.training or torch.is_grad_enabled():
            return self._smoothed()
        now, edges = state_of([self.weight]), self.graph.edges
        if self._kept is None or self._kept[0] != now or self._kept[1] is not edges:
            self._kept = now, edges, self._smoothed()
        return self._kept[2]

    @contextmanager
    def step(self, one_gradient: bool = True) -> Iterator[None]:
        """Smooth once for all look-ups within.

        Args:
            one_gradient: whether they make one gradient of the table together, where that is faster.
        """
        self._in_step, self._together = True, one_gradient
        try:
            yield
        finally:
            self._in_step, self._of_step = False, None

    def forget(self) -> None:
        """Smooth anew at the next look-up: for whoever swaps weights behind our back."""
        self._kept = None

    def train(self, mode: bool = True) -> SmoothedEmbedding:
        """Switch to training mode, or out of it."""
        if mode:
            self.forget()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self.forget()  # another type and back, in the same memory, has other values
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of copies and pickles what is a table of its own, and made of the rest."""
        return {**self.__dict__, "_kept": None}

    def extra_repr(self) -> str:
        """Return what is printed."""
        return f"{super().extra_repr()}, neighbor_weight={self.neighbor_weight}, window={self.graph.window}"

    def _smoothed(self) -> Tensor:
        neighbors: Tensor = self.graph(self.weight)
        return self.weight + self.neighbor_weight * neighbors
