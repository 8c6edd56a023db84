"""A block of pointwise aggregated attention, with biases for distances in positions and in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.models.layers.time_buckets import NUM_BUCKETS


class HSTUBlock(nn.Module):
    """``x + W₂(norm(A V) · U)`` with ``U, V, Q, K = silu(W₁ norm(x))`` and ``A = silu(Q Kᵀ + bias) / n``.

    Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
    Recommendations", ICML 2024. There is no softmax: what an event adds does not depend on the others, so
    that the sum also tells how many of them matter. The bias of a pair of events is the sum of one for their
    distance in positions and one for the time between them; heads share both. No position sees later ones:
    put padding behind the events.

    The published code takes for n the width that histories are padded to. Here it is the number of positions,
    whatever the padding: else a user's vector would depend on whom the batch holds besides.

    Args:
        dim: width D.
        num_heads: number of heads, a divisor of D.
        dropout: probability that a component of what is gated is dropped in training.
        num_blocks: number of blocks in the stack.
        num_positions: number of positions n; those farther apart count as n − 1 apart.
        use_times: whether there are biases for times.
    """

    def __init__(
        self, dim: int, num_heads: int, dropout: float, num_blocks: int, num_positions: int, use_times: bool
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_positions = num_positions
        self.input_norm = nn.LayerNorm(dim)
        self.gate_value_query_key = nn.Linear(dim, 4 * dim)
        self.position_bias = nn.Parameter(torch.randn(num_positions) * 0.02)
        self.time_bias = nn.Parameter(torch.randn(NUM_BUCKETS) * 0.02) if use_times else None
        # sums of few events are small, also divided by n: no less than float16 holds
        self.aggregate_norm = nn.LayerNorm(dim, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.output_map = nn.Linear(dim, dim)
        nn.init.normal_(self.gate_value_query_key.weight, std=dim**-0.5)
        nn.init.normal_(self.output_map.weight, std=(2 * num_blocks * dim) ** -0.5)
        for layer in (self.gate_value_query_key, self.output_map):
            nn.init.zeros_(layer.bias)

    def forward(
        self, states: Tensor, real: Tensor | None, distances: Tensor, buckets: Tensor | None = None
    ) -> Tensor:
        """Map states (B, L, D) to (B, L, D).

        Args:
            states: the states.
            real: as of ``SelfAttentionBlock``; None = causality hides all padding.
            distances: (B, L, L) int64 how many positions before the first event of a pair the second is.
            buckets: (B, L, L) int64 the bucket of the time between them; None = times are not known.
        """
        batch_size, length, dim = states.shape
        heads = self.num_heads
        mapped = functional.silu(self.gate_value_query_key(self.input_norm(states)))
        gate, rest = mapped.split([dim, 3 * dim], dim=-1)
        value, query, key = rest.view(batch_size, length, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
        bias = self.position_bias[distances.clamp(0, self.num_positions - 1)]
        if buckets is not None and self.time_bias is not None:
            bias = bias + self.time_bias[buckets]
        seen = torch.ones(length, length, dtype=torch.bool, device=states.device).tril()
        if real is not None:
            seen = seen & real[:, None, None, :]
        weights = functional.silu(query @ key.transpose(-1, -2) + bias.unsqueeze(1)) / self.num_positions
        attended = weights.masked_fill(~seen, 0.0) @ value
        aggregate = self.aggregate_norm(attended.transpose(1, 2).reshape(batch_size, length, dim))
        added: Tensor = self.output_map(self.dropout(aggregate * gate))
        return states + added
