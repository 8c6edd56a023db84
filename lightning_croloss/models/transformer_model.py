"""TransformerModel: what the architectures share that read the history by causal self-attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts
from lightning_croloss.models.layers.transformer import TransformerEncoder, check_heads
from lightning_croloss.models.sequence_model import SequenceModel


class TransformerModel(SequenceModel):
    """Base of the architectures with learned positions and a stack of causal blocks.

    A subclass makes the stack, ``blocks``, and implements :meth:`read_out`. With ``train_on="last"``
    positions count back from the end of the history: what matters is how recent an event is. With
    ``train_on="all"``, where an event serves many targets at once, they count from the beginning of the
    window, so that each target sees what it would see alone. In neither does padding change a position, nor
    does an event that ``history_dropout`` took out: else the positions of long histories would be left
    untrained. Weights that were trained in one way mean something else in the other, which refuses them.

    Args:
        num_items: size of the catalogue, from the data.
        num_heads: number of heads, a divisor of ``embedding_dim``.
        max_length: number of positions, at least the data's ``max_history``; of a longer history the model
            reads the last events.
        **kwargs: arguments of ``SequenceModel``, ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range.
    """

    max_length: int
    blocks: TransformerEncoder

    def __init__(self, num_items: int, num_heads: int, max_length: int, **kwargs: Any) -> None:
        super().__init__(num_items, **kwargs)
        check_counts(num_heads=num_heads, max_length=max_length)
        dim = self.embedding_dim
        check_heads(num_heads, dim)
        self.max_length = max_length
        # of positions; the name stays, as a key of every saved state dictionary
        self.place_embedding = nn.Embedding(max_length, dim)
        # items, scaled below, have components of about 1 for cosines, and at first outweigh the positions
        nn.init.normal_(self.place_embedding.weight, std=0.1)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose positions count from the other end, besides what every model refuses.

        Raises:
            ValueError: the model was made with another ``train_on``, or a reason of ``RetrievalModel``.
        """
        given = checkpoint.get("hyper_parameters")
        kept = given.get("train_on", "last") if isinstance(given, Mapping) else self.train_on
        if kept != self.train_on:
            raise ValueError(
                f"train_on={self.train_on!r} was given, but the checkpoint was trained with {kept!r:.40}, "
                "and its positions count from the other end: leave it out or give the same, or start a new "
                "model from its weights with load_matching"
            )
        super().on_load_checkpoint(checkpoint)

    def event_states(self, events: Tensor, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs (B, L, D) of the last block, see ``SequenceModel``."""
        read: Tensor = self.blocks(self.positioned(events, numbers, lengths))
        return read

    def positioned(self, events: Tensor, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return what the first block reads, (B, L, D): events with their positions; arguments as above."""
        positions = (numbers - 1).clamp(min=0) if self.all_positions else lengths.unsqueeze(1) - numbers
        positions = positions.clamp(max=self.max_length - 1)  # padding before the first event
        # as in the paper of SASRec: for cosines components of about 1, the size of what the blocks add
        states: Tensor = events * self.embedding_dim**0.5 + self.place_embedding(positions)
        return states
