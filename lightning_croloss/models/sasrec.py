"""SASRec: the history through causal self-attention."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts, check_probability
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.layers.causal_attention import CausalBlock
from lightning_croloss.models.sequence_model import SequenceModel


class SASRec(SequenceModel):
    """Read the history with causal self-attention; the user is the output at the last event.

    Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. Each event has a learned embedding
    of its position besides its item. With ``train_on="last"`` positions count back from the end of the
    history: what matters is how recent an event is. With ``train_on="all"``, where an event serves many
    targets at once, they count from the beginning of the window, so that each target sees what it would see
    alone. In neither does padding change a position, nor does an event that ``history_dropout`` took out:
    else the positions of long histories would be left untrained.

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

    max_length: int

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
        super().__init__(num_items, **kwargs)
        check_counts(
            num_blocks=num_blocks, num_heads=num_heads, feedforward_dim=feedforward_dim, max_length=max_length
        )
        dim = self.embedding_dim
        if dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide embedding_dim={dim}")
        check_probability(dropout=dropout)
        self.max_length = max_length
        # of positions; the name stays, as a key of every saved state dictionary
        self.place_embedding = nn.Embedding(max_length, dim)
        # items, scaled below, have components of about 1: at the start they outweigh the positions
        nn.init.normal_(self.place_embedding.weight, std=0.1)
        self.blocks = nn.ModuleList(
            CausalBlock(dim, num_heads, feedforward_dim, dropout, num_blocks) for _ in range(num_blocks)
        )
        self.output_norm = nn.LayerNorm(dim)

    def setup(self, stage: str) -> None:
        """Take from the data what training needs.

        Raises:
            ValueError: the data's histories have more events than the model has positions.
        """
        super().setup(stage)
        if self.data is not None and self.data.max_history > self.max_length:
            raise ValueError(
                f"the model's max_length={self.max_length} is less than the data's "
                f"max_history={self.data.max_history}: raise the one or lower the other"
            )

    def visible(self, batch: RetrievalBatch) -> RetrievalBatch:
        """Return the batch with the last ``max_length`` events of each history."""
        if batch.history.shape[1] <= self.max_length:
            return batch
        return batch.last_events(self.max_length)

    def event_states(self, events: Tensor, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs (B, L, D) of the last block, see ``SequenceModel``."""
        positions = (numbers - 1).clamp(min=0) if self.all_positions else lengths.unsqueeze(1) - numbers
        positions = positions.clamp(max=self.max_length - 1)  # padding before the first event
        # as in the paper: components of about 1, the size of what the blocks add
        states: Tensor = events * self.embedding_dim**0.5 + self.place_embedding(positions)
        for block in self.blocks:
            states = block(states)
        return states

    def read_out(self, states: Tensor) -> Tensor:
        """Norm outputs (B, D)."""
        vectors: Tensor = self.output_norm(states)
        return vectors
