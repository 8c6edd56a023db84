"""A block of self-attention whose parts are let in by gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.models.layers.transformer import SelfAttentionBlock


class LiGRBlock(SelfAttentionBlock):
    """``x + σ(W₁x + b₁) · attention(norm(x))``, then ``x + σ(W₂x + b₂) · SwiGLU(norm(x))``.

    Borisyuk et al., "From Features to Transformers: Redefining Ranking for Scalable Impact", KDD 2025. The
    gates see what is not normed. ``SwiGLU(y) = W₅(silu(W₃y) · W₄y)`` has no biases. Dropout is where the
    authors of eSASRec have it: on the attention weights, the hidden layer, and what each part adds.

    Args:
        dim: width D.
        num_heads: number of heads, a divisor of D.
        feedforward_dim: width of the hidden layer.
        dropout: probability that a component is dropped in training.
        num_blocks: number of blocks in the stack.
        causal: whether a position sees itself and earlier ones only.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        num_blocks: int,
        causal: bool = True,
    ) -> None:
        super().__init__(dim, num_heads, num_blocks, causal, attention_dropout=dropout)
        self.attention_gate = nn.Linear(dim, dim)
        self.feedforward_gate = nn.Linear(dim, dim)
        # the two maps into the hidden layer, the one within silu first
        self.feedforward_input = nn.Linear(dim, 2 * feedforward_dim, bias=False)
        self.feedforward_output = nn.Linear(feedforward_dim, dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        inward = (self.query_key_value, self.feedforward_input, self.attention_gate, self.feedforward_gate)
        self.start_from(inward, (self.attention_output, self.feedforward_output))

    def forward(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Map states (B, L, D) to (B, L, D), see :class:`SelfAttentionBlock`."""
        added: Tensor = self.dropout(self.attend(self.attention_norm(states), real))
        states = states + torch.sigmoid(self.attention_gate(states)) * added
        inner, outer = self.feedforward_input(self.feedforward_norm(states)).chunk(2, dim=-1)
        added = self.dropout(self.feedforward_output(self.dropout(functional.silu(inner) * outer)))
        return states + torch.sigmoid(self.feedforward_gate(states)) * added
