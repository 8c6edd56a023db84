"""Weighted sums over the neighbours in a graph, as a sparse product that is the same in every run."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Adjacency(NamedTuple):
    """A symmetric adjacency matrix by rows.

    Attributes:
        starts: (rows + 1,) where the entries of each row begin, and where the last ends.
        columns: (2 E,) the nodes at the other ends.
        edge_of: (2 E,) the number of the edge that an entry is of.
        weights: (2 E,) the entries.
        isolated: (rows, 1) bool, the rows without entries.
    """

    starts: Tensor
    columns: Tensor
    edge_of: Tensor
    weights: Tensor
    isolated: Tensor


def adjacency_of(one: Tensor, other: Tensor, degrees: Tensor, strengths: Tensor | None = None) -> Adjacency:
    """Return the symmetric matrix of edges whose weights are ``strength / sqrt(d_one d_other)``, in float64.

    Args:
        one: (E,) the node at one end of each edge, ascending.
        other: (E,) the node at the other end; an edge has two ends.
        degrees: (rows,) ``d`` of each node: the sum of the strengths of its edges.
        strengths: (E,) of the edges; None = 1.
    """
    degrees = degrees.double()  # whose products overflow nowhere
    weights = (degrees[one] * degrees[other]).rsqrt()
    if strengths is not None:
        weights = weights * strengths
    ends = torch.cat([one, other])
    order = ends.argsort(stable=True)
    edge_of = order % len(one) if len(one) else order
    counts = ends.bincount(minlength=len(degrees))
    return Adjacency(
        starts=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        columns=torch.cat([other, one])[order],
        edge_of=edge_of,
        weights=weights[edge_of],
        isolated=(counts == 0).unsqueeze(1),
    )


def neighbor_sums(vectors: Tensor, adjacency: Adjacency) -> Tensor:
    """Return for each node the weighted sum of its neighbours' vectors, zeros where it has none.

    Summed row by row, each in the order of its entries: the same bits in every run with the same number of
    threads, on an accelerator too as far as ``torch.nn.functional.embedding_bag`` is.

    Args:
        vectors: (rows, D), in the type of the weights.
        adjacency: the matrix, on the same device.
    """
    found: Tensor = _Product.apply(vectors, adjacency)  # type: ignore[no-untyped-call]
    return found


class _Product(torch.autograd.Function):
    """The product of the matrix with vectors. It is symmetric: so is the gradient's way back."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, adjacency: Adjacency) -> Tensor:
        ctx.adjacency = adjacency
        return functional.embedding_bag(
            adjacency.columns,
            vectors,
            adjacency.starts,
            mode="sum",
            per_sample_weights=adjacency.weights,
            include_last_offset=True,
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return neighbor_sums(gradients[0].contiguous(), ctx.adjacency), None
