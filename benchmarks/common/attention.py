"""Settings of architectures that attend, in the words of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attention:
    """Settings of SASRec and its like, of equal meaning here and in RecBole.

    Attributes:
        dim: width of an event.
        length: events of a history at most.
        blocks: number of blocks.
        heads: number of heads.
        inner: width of the feed-forward networks.
        dropout: in each block.
    """

    dim: int
    length: int
    blocks: int = 1
    heads: int = 2
    inner: int = 256
    dropout: float = 0.2

    @property
    def ours(self) -> dict[str, Any]:
        """The arguments of a model here, besides its width."""
        return {
            "num_blocks": self.blocks,
            "num_heads": self.heads,
            "feedforward_dim": self.inner,
            "dropout": self.dropout,
            "max_length": self.length,
        }

    @property
    def theirs(self) -> dict[str, Any]:
        """The settings of RecBole, besides the length of histories, which is one of its data."""
        return {
            "n_layers": self.blocks,
            "n_heads": self.heads,
            "hidden_size": self.dim,
            "inner_size": self.inner,
            "hidden_dropout_prob": self.dropout,
            "attn_dropout_prob": self.dropout,
        }
