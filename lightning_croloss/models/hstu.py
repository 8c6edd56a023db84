"""HSTU: the history through pointwise aggregated attention, which knows positions and times."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts, check_probability
from lightning_croloss.models.layers.hstu_block import HSTUBlock
from lightning_croloss.models.layers.time_buckets import time_buckets
from lightning_croloss.models.layers.transformer import TransformerEncoder
from lightning_croloss.models.transformer_model import TransformerModel


class HSTU(TransformerModel):
    """Read the history with pointwise aggregated attention; the user is the output at the last event.

    Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
    Recommendations", ICML 2024. How much an event adds depends on its item, on its distance in positions and,
    if the data has times, on the time between it and the event that looks back, by its order of magnitude. In
    the published code the event that looks back takes the time of the one after it, which a list made
    beforehand cannot know; here it takes its own. Each event has a learned embedding of its position besides
    its item; ``TransformerModel`` says from where positions count.

    A model that was trained with times needs them for every history that it recommends to.

    Args:
        num_items: size of the catalogue, from the data.
        num_blocks: number of blocks.
        num_heads: number of heads, a divisor of ``embedding_dim``.
        dropout: probability that a component of what a block adds is dropped in training, before its last
            map.
        max_length: number of positions, at least the data's ``max_history``, and what the sums over events
            are divided by; of a longer history the model reads the last events.
        use_times: whether the model reads the times of events, where the data has any. With loaders of your
            own whose batches have none, say False: what only times train would else wait for a gradient.
        **kwargs: arguments of ``SequenceModel``, ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_items: int,
        num_blocks: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 200,
        use_times: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, num_heads, max_length, **kwargs)
        check_counts(num_blocks=num_blocks)
        check_probability(dropout=dropout)
        self.reads_times = use_times
        dim = self.embedding_dim
        self.blocks = TransformerEncoder(
            lambda: HSTUBlock(dim, num_heads, dropout, num_blocks, max_length, use_times), num_blocks
        )
        self.output_norm = nn.LayerNorm(dim)
        self._without_times: list[nn.Parameter] = []

    def setup(self, stage: str) -> None:
        """Take from the data what training needs; what only times would train is left as it is without."""
        super().setup(stage)
        if stage != "fit" or self.data is None:
            return
        for parameter in self._without_times:  # what somebody else has frozen stays frozen
            parameter.requires_grad_(True)
        self._without_times = []
        if self.metadata.events.times is None:
            # processes that train together wait for the gradient of each parameter that wants one
            biases = [
                self.get_parameter(name) for name in self.time_parameters() if name.endswith(".time_bias")
            ]
            self._without_times = [bias for bias in biases if bias.requires_grad]
            for parameter in self._without_times:
                parameter.requires_grad_(False)

    def time_parameters(self) -> list[str]:
        """Return the names of the parameters that hold what is learned of the time between events."""
        found = [name for name, _ in self.named_parameters() if name.endswith(".time_bias")]
        return [*super().time_parameters(), *found]

    def event_states(self, events: Tensor, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs (B, L, D) of the last block by positions alone, see ``SequenceModel``."""
        return self._states(events, numbers, lengths, None)

    def timed_states(self, events: Tensor, numbers: Tensor, lengths: Tensor, times: Tensor) -> Tensor:
        """Return the outputs (B, L, D) of the last block by positions and times, see ``SequenceModel``."""
        return self._states(events, numbers, lengths, time_buckets(times.unsqueeze(2) - times.unsqueeze(1)))

    def _states(self, events: Tensor, numbers: Tensor, lengths: Tensor, buckets: Tensor | None) -> Tensor:
        distances = numbers.unsqueeze(2) - numbers.unsqueeze(1)
        read: Tensor = self.blocks(self.positioned(events, numbers, lengths), None, distances, buckets)
        return read

    def read_out(self, states: Tensor) -> Tensor:
        """Norm outputs (B, D)."""
        vectors: Tensor = self.output_norm(states)
        return vectors
