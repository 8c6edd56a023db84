"""A block of causal self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalBlock(nn.Module):
    """Causal self-attention and a feed-forward network, ``x + dropout(g(norm(x)))`` each.

    No position sees later ones. There is no mask for padding: put it behind the events, where causality hides
    it, so that the fastest kernel serves and no position is left without anything to attend to (whose softmax
    would be NaN). The dropout is that of the paper of SASRec, on what each part adds; PyTorch's fused kernel
    for CPUs has none on attention weights.

    At the start a block adds little to its input (the maps that lead back to it are divided by
    ``sqrt(2 · num_blocks)``, as in GPT-2), so that the first updates reach the events through all blocks.

    Args:
        dim: width D.
        num_heads: number of heads, a divisor of D.
        feedforward_dim: width of the hidden layer.
        dropout: probability that a component of what a part adds is dropped in training.
        num_blocks: number of blocks in the stack.
    """

    def __init__(
        self, dim: int, num_heads: int, feedforward_dim: int, dropout: float, num_blocks: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_output = nn.Linear(dim, dim)
        self.feedforward_norm = nn.LayerNorm(dim)
        self.feedforward_input = nn.Linear(dim, feedforward_dim)
        self.feedforward_output = nn.Linear(feedforward_dim, dim)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.query_key_value, self.feedforward_input):
            # normed inputs have components of variance 1, and so have the outputs
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        for layer in (self.attention_output, self.feedforward_output):
            nn.init.normal_(layer.weight, std=(2 * num_blocks * layer.in_features) ** -0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, events: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        events = events + self.dropout(self._attend(self.attention_norm(events)))
        hidden = torch.relu(self.feedforward_input(self.feedforward_norm(events)))
        added: Tensor = self.dropout(self.feedforward_output(hidden))
        return events + added

    def _attend(self, events: Tensor) -> Tensor:
        batch_size, length, dim = events.shape
        heads = self.num_heads
        split = self.query_key_value(events).view(batch_size, length, 3, heads, dim // heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, L, D / heads) each
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        output: Tensor = self.attention_output(attended.transpose(1, 2).reshape(batch_size, length, dim))
        return output
