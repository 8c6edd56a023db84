"""ESASRec: SASRec with gated blocks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_croloss.common.checks import check_counts, check_probability
from lightning_croloss.models.layers.ligr import LiGRBlock
from lightning_croloss.models.layers.transformer import TransformerEncoder
from lightning_croloss.models.transformer_model import TransformerModel


class ESASRec(TransformerModel):
    """Read the history with gated causal self-attention; the user is the output at the last event.

    Tikhonovich et al., "eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion", RecSys
    2025: SASRec with the layers of LiGR, whose parts are let in by gates and whose feed-forward network is a
    SwiGLU. Its other half is the loss: there softmax over sampled negatives, here whichever you choose. As in
    the authors' code nothing is normed behind the last block, and dropout takes out attention weights too.
    Each event has a learned embedding of its position besides its item; ``TransformerModel`` says from where
    positions count.

    Args:
        num_items: size of the catalogue, from the data.
        num_blocks: number of blocks of attention and feed-forward network.
        num_heads: number of heads, a divisor of ``embedding_dim``.
        feedforward_multiplier: width of the hidden layer of the feed-forward networks, in ``embedding_dim``.
        dropout: probability that an attention weight, a hidden unit, or a component of what a part of a block
            adds is dropped in training.
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
        feedforward_multiplier: int = 4,
        dropout: float = 0.2,
        max_length: int = 200,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, num_heads, max_length, **kwargs)
        check_counts(num_blocks=num_blocks, feedforward_multiplier=feedforward_multiplier)
        check_probability(dropout=dropout)
        dim = self.embedding_dim
        self.blocks = TransformerEncoder(
            lambda: LiGRBlock(dim, num_heads, feedforward_multiplier * dim, dropout, num_blocks), num_blocks
        )

    def read_out(self, states: Tensor) -> Tensor:
        """Return the outputs (B, D) as they are."""
        return states
