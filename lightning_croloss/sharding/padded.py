"""PaddedEmbedding: an embedding table with a row of padding, whose sparse gradients wait for no device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PaddedEmbedding(nn.Embedding):
    """``nn.Embedding`` whose row 0 is padding.

    PyTorch leaves padding out of a sparse gradient, and for that asks a device how much of it there is. Here,
    off the CPU, the rows of padding stay in the gradient, as zeros.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: D.
        sparse: whether gradients of look-ups are sparse.
        weight: (rows, D) the rows; None = they are drawn.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, sparse: bool = False, weight: Tensor | None = None
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx=0, sparse=sparse, _weight=weight)

    def forward(self, input: Tensor) -> Tensor:
        """Return the rows (…, D) of ids (…)."""
        if not self.sparse or input.device.type == "cpu":
            return super().forward(input)
        return rows_without_padding(self.weight, input)


def rows_without_padding(weight: Tensor, ids: Tensor) -> Tensor:
    """Return the rows (…, D) of ids (…), with a sparse gradient that is 0 in row 0."""
    rows = functional.embedding(ids, weight, sparse=True)
    return torch.where((ids == 0).unsqueeze(-1), rows.detach(), rows)
