"""The embedding of the ids of items or users."""

from __future__ import annotations

from torch import nn


def id_embedding(num_ids: int, dim: int) -> nn.Embedding:
    """Return a table of a vector for each id of 1 … num_ids, of length about 1, and of zeros for id 0.

    Args:
        num_ids: number of items or users.
        dim: width D.
    """
    embedding = nn.Embedding(num_ids + 1, dim, padding_idx=0)
    draw_ids(embedding)
    return embedding


def draw_ids(embedding: nn.Embedding) -> None:
    """Draw the vectors of ids, of length about 1; the row of id 0 stays as it is."""
    nn.init.normal_(embedding.weight[1:], std=embedding.embedding_dim**-0.5)
