"""BSARec: causal self-attention mixed with a filter of the frequencies of the history."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts, check_probability, check_share
from lightning_croloss.models.layers.frequency import FrequencyBlock
from lightning_croloss.models.layers.transformer import TransformerEncoder
from lightning_croloss.models.transformer_model import TransformerModel


class BSARec(TransformerModel):
    """Read the history with self-attention and a filter of its frequencies; the user is the last output.

    Shin et al., "An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention", AAAI
    2024. Attention smooths: beside it each block has a filter that leaves the slow changes of a history as
    they are and rescales the fast ones. The filter sees later events, so that the model trains on one target
    a row, ``train_on="last"``, as the authors' does. As theirs, its Fourier transform is over ``max_length``
    positions whatever the width of a batch, so that a frequency means the same in every history: choose
    ``max_length`` equal to the data's ``max_history``. Padding counts as zeros in every block; theirs goes on
    with what the blocks make of it. Each event has a learned embedding of its position besides its item.

    Args:
        num_items: size of the catalogue, from the data.
        num_blocks: number of blocks.
        num_heads: number of heads, a divisor of ``embedding_dim``.
        feedforward_dim: width of the hidden layer of the feed-forward networks.
        dropout: probability that an attention weight, or a component of the input or of what a part of a
            block adds, is dropped in training.
        alpha: the share of the filter in each block, the rest being that of self-attention.
        num_frequencies: number of frequencies that the filter leaves as they are, the mean of the history
            being the first, and ``max_length // 2 + 1`` being all of them. It is ``c // 2 + 1`` of the
            authors' c.
        max_length: number of positions, at least the data's ``max_history``; of a longer history the model
            reads the last events.
        **kwargs: arguments of ``SequenceModel``, ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range, or ``train_on`` is "all".
    """

    sees_later_events = True

    def __init__(
        self,
        num_items: int,
        num_blocks: int = 2,
        num_heads: int = 1,
        feedforward_dim: int = 256,
        dropout: float = 0.5,
        alpha: float = 0.7,
        num_frequencies: int = 3,
        max_length: int = 50,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, num_heads, max_length, **kwargs)
        check_counts(num_blocks=num_blocks, feedforward_dim=feedforward_dim, num_frequencies=num_frequencies)
        check_probability(dropout=dropout)
        check_share(alpha=alpha)
        most = max_length // 2 + 1
        if num_frequencies > most:
            raise ValueError(
                f"num_frequencies={num_frequencies} must be at most {most}, of which a sequence of "
                f"max_length={max_length} consists"
            )
        dim = self.embedding_dim
        self.input_norm = nn.LayerNorm(dim)
        self.input_dropout = nn.Dropout(dropout)
        self.blocks = TransformerEncoder(
            lambda: FrequencyBlock(
                dim, num_heads, feedforward_dim, dropout, num_blocks, max_length, num_frequencies, alpha
            ),
            num_blocks,
        )

    def event_states(self, events: Tensor, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs (B, L, D) of the last block, see ``SequenceModel``."""
        states = self.input_dropout(self.input_norm(self.positioned(events, numbers, lengths)))
        read: Tensor = self.blocks(states, numbers > 0)
        return read

    def read_out(self, states: Tensor) -> Tensor:
        """Return the outputs (B, D) as they are."""
        return states
