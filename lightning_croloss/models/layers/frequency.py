"""A block that mixes self-attention with a filter of the frequencies of the history."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.models.layers.transformer import SelfAttentionBlock


def lowest_frequencies(length: int, num_frequencies: int) -> Tensor:
    """Return an orthonormal basis (length, W) float64 of the sequences of the lowest frequencies.

    Frequency 0 is a constant, the others are a cosine and a sine each; of the highest of an even length there
    is the cosine alone.

    Args:
        length: number of positions.
        num_frequencies: number of frequencies, at most length // 2 + 1.
    """
    turns = torch.arange(length, dtype=torch.float64, device="cpu") * (2 * math.pi / length)
    columns = []
    for frequency in range(num_frequencies):
        own_mirror = 2 * frequency in (0, length)
        scale = math.sqrt((1 if own_mirror else 2) / length)
        columns.append(scale * torch.cos(frequency * turns))
        if not own_mirror:
            columns.append(scale * torch.sin(frequency * turns))
    return torch.stack(columns, dim=1)


class FrequencyFilter(nn.Module):
    """``low(x) + β² · (x − low(x))``: a sequence whose high frequencies are rescaled.

    ``low`` keeps the lowest frequencies of the discrete Fourier transform of the sequence, padded with zeros
    to ``length``; β is learned for each feature. It is computed as two products with the basis of these
    frequencies, which is exact, faster than a fast Fourier transform at these lengths, and can be exported.
    The transform being that of a circle of ``length`` positions, padding before the events and behind them
    are the same.

    Args:
        dim: width D.
        length: number of positions of the transform.
        num_frequencies: number of frequencies that ``low`` keeps, the mean of the sequence being the first.
    """

    basis: Tensor

    def __init__(self, dim: int, length: int, num_frequencies: int) -> None:
        super().__init__()
        self.root_of_scale = nn.Parameter(torch.randn(dim))  # β
        self.length, self.num_frequencies = length, num_frequencies
        self.register_buffer("basis", self._basis_like(self.root_of_scale), persistent=False)

    def _basis_like(self, tensor: Tensor) -> Tensor:
        basis = lowest_frequencies(self.length, self.num_frequencies)
        return basis.to(tensor.dtype).to(tensor.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrequencyFilter:
        """Take another type or device, with the basis that belongs there: a rounded one stays rounded."""
        super()._apply(fn, recurse)
        self.basis = self._basis_like(self.basis)
        return self

    def forward(self, states: Tensor) -> Tensor:
        """Map states (B, L, D), zeros at padding, L at most ``length``, to (B, L, D)."""
        basis = self.basis[: states.shape[1]].to(states.dtype)
        low = basis @ (basis.mT @ states)
        return low + self.root_of_scale.square() * (states - low)


class FrequencyBlock(SelfAttentionBlock):
    """``norm(y + dropout(feedforward(y)))`` of a mix y of filtered and attended states.

    ``y = α · norm(x + dropout(filter(x))) + (1 − α) · norm(x + dropout(attention(x)))``, each with a norm of
    its own. Norms come last, as in the paper; dropout takes out attention weights too. Attention is causal,
    while the filter sees the whole history.

    Args:
        dim: width D.
        num_heads: number of heads, a divisor of D.
        feedforward_dim: width of the hidden layer.
        dropout: probability that a component is dropped in training.
        num_blocks: number of blocks in the stack.
        length: number of positions of the filter's transform.
        num_frequencies: number of frequencies that it leaves as they are.
        alpha: the share of the filter.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        num_blocks: int,
        length: int,
        num_frequencies: int,
        alpha: float,
    ) -> None:
        super().__init__(dim, num_heads, num_blocks, attention_dropout=dropout)
        self.alpha = alpha
        self.filter = FrequencyFilter(dim, length, num_frequencies)
        self.filter_norm = nn.LayerNorm(dim)
        self.feedforward_input = nn.Linear(dim, feedforward_dim)
        self.feedforward_output = nn.Linear(feedforward_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.start_from(
            (self.query_key_value, self.feedforward_input), (self.attention_output, self.feedforward_output)
        )

    def forward(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Map states (B, L, D) to (B, L, D).

        Args:
            states: the states, those of events first, then padding, which attention does not reach.
            real: (B, L) bool, True = an event; the filter takes all else for zeros. None = all.
        """
        seen = states if real is None else states * real.unsqueeze(-1)
        filtered = self.filter_norm(states + self.dropout(self.filter(seen)))
        attended = self.attention_norm(states + self.dropout(self.attend(states, None)))
        mixed = self.alpha * filtered + (1 - self.alpha) * attended
        hidden = functional.gelu(self.feedforward_input(mixed))
        output: Tensor = self.feedforward_norm(mixed + self.dropout(self.feedforward_output(hidden)))
        return output
