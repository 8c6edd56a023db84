"""Self-attentive readout: several weighted means of a history, weighed by the history itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttentiveReadout(nn.Module):
    """K weighted means of the events with the weights ``softmax(W2 tanh(W1 x))`` over the events.

    Lin et al., "A Structured Self-Attentive Sentence Embedding", ICLR 2017.

    Args:
        dim: width D of the events.
        hidden_dim: width of the hidden layer.
        num_readouts: K.
    """

    def __init__(self, dim: int, hidden_dim: int, num_readouts: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden_dim, bias=False)
        self.logits = nn.Linear(hidden_dim, num_readouts, bias=False)

    def forward(self, events: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Return the means (B, K, D); zeros for an empty history.

        Args:
            events: (B, L, D) what is averaged.
            keys: (B, L, D) what decides the weights: the events, with their positions perhaps.
            mask: (B, L) bool, True = a real event.
        """
        real = mask.unsqueeze(-1)
        logits = self.logits(torch.tanh(self.hidden(keys)))
        # the lowest finite number and not -inf: the softmax of an empty history would be NaN
        weights = torch.softmax(logits.masked_fill(~real, torch.finfo(logits.dtype).min), dim=1) * real
        return weights.transpose(1, 2).to(events.dtype) @ events
