"""SASRec: the history through causal self-attention."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts, check_probability
from lightning_croloss.models.layers.transformer import PreNormBlock, TransformerEncoder
from lightning_croloss.models.transformer_model import TransformerModel


class SASRec(TransformerModel):
    """Read the history with causal self-attention; the user is the output at the last event.

    Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. Each event has a learned embedding
    of its position besides its item; ``TransformerModel`` says from where positions count.

    Args:
        num_items: size of the catalogue, from the data.
        num_blocks: number of blocks of attention and feed-forward network.
        num_heads: number of heads, a divisor of ``embedding_dim``.
        feedforward_dim: width of the hidden layer of the feed-forward networks.
        dropout: probability that a component of what a part of a block adds is dropped in training.
        max_length: number of positions, at least the data's ``max_history``; of a longer history the model
            reads the last events.
        **kwargs: arguments of ``SequenceModel``, ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_items: int,
        num_blocks: int = 2,
        num_heads: int = 2,
        feedforward_dim: int = 128,
        dropout: float = 0.2,
        max_length: int = 200,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, num_heads, max_length, **kwargs)
        check_counts(num_blocks=num_blocks, feedforward_dim=feedforward_dim)
        check_probability(dropout=dropout)
        dim = self.embedding_dim
        self.blocks = TransformerEncoder(
            lambda: PreNormBlock(dim, num_heads, feedforward_dim, dropout, num_blocks), num_blocks
        )
        self.output_norm = nn.LayerNorm(dim)

    def read_out(self, states: Tensor) -> Tensor:
        """Norm outputs (B, D)."""
        vectors: Tensor = self.output_norm(states)
        return vectors
