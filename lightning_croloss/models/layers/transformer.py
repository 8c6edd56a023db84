"""The transformer encoder of the architectures that read a history by attention: a stack of blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def check_heads(num_heads: int, embedding_dim: int) -> None:
    """Refuse a number of heads, at least 1, that a vector cannot be divided among.

    Raises:
        ValueError: it is no divisor.
    """
    if embedding_dim % num_heads:
        raise ValueError(f"num_heads={num_heads} must divide embedding_dim={embedding_dim}")


class SelfAttentionBlock(nn.Module, ABC):
    """Base of the blocks: what a subclass makes of self-attention and of a feed-forward network.

    A block maps states (B, L, D) to states (B, L, D). With ``causal`` no position sees later ones, and there
    is no mask for padding: put it behind the events, where causality hides it, so that the fastest kernel
    serves and no position is left without anything to attend to (whose softmax would be NaN). Without it
    every position sees all that ``real`` leaves.

    At the start a block adds little to its input (the maps that lead back to it are divided by
    ``sqrt(2 · num_blocks)``, as in GPT-2), so that the first updates reach the events through all blocks.

    Args:
        dim: width D.
        num_heads: number of heads, a divisor of D.
        num_blocks: number of blocks in the stack.
        causal: whether a position sees itself and earlier ones only.
        attention_dropout: probability that an attention weight is dropped in training; PyTorch's fused
            kernel for CPUs serves without it only.
    """

    def __init__(
        self, dim: int, num_heads: int, num_blocks: int, causal: bool = True, attention_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.causal = causal
        self.attention_dropout = attention_dropout
        self._num_blocks = num_blocks
        # the names of parameters are keys of every saved state dictionary
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_output = nn.Linear(dim, dim)
        self.feedforward_norm = nn.LayerNorm(dim)

    @abstractmethod
    def forward(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Map states (B, L, D) to (B, L, D).

        Args:
            states: the states.
            real: (B, L) bool, True = a position that others may see, at least one in each row; None = all.
        """

    def attend(self, states: Tensor, real: Tensor | None) -> Tensor:
        """Return what self-attention makes of states (B, L, D), (B, L, D); see :meth:`forward`."""
        batch_size, length, dim = states.shape
        heads = self.num_heads
        split = self.query_key_value(states).view(batch_size, length, 3, heads, dim // heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, L, D / heads) each
        attended = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if real is None else real[:, None, None, :],
            is_causal=self.causal,
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        output: Tensor = self.attention_output(attended.transpose(1, 2).reshape(batch_size, length, dim))
        return output

    def start_from(self, inward: tuple[nn.Linear, ...], outward: tuple[nn.Linear, ...]) -> None:
        """Draw the weights: of maps of normed states, and of those that lead back to the states.

        Args:
            inward: maps whose inputs have components of variance 1, and so have then the outputs.
            outward: maps whose outputs are added to the states.
        """
        for layer in inward:
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        for layer in outward:
            nn.init.normal_(layer.weight, std=(2 * self._num_blocks * layer.in_features) ** -0.5)
        for layer in (*inward, *outward):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class PreNormBlock(SelfAttentionBlock):
    """Self-attention and a feed-forward network, ``x + dropout(g(norm(x)))`` each.

    The dropout is that of the paper of SASRec, on what each part adds.

    Args:
        dim: width D.
        num_heads: number of heads, a divisor of D.
        feedforward_dim: width of the hidden layer.
        dropout: probability that a component of what a part adds is dropped in training.
        num_blocks: number of blocks in the stack.
        causal: whether a position sees itself and earlier ones only.
        activation: the non-linearity of the hidden layer.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        num_blocks: int,
        causal: bool = True,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__(dim, num_heads, num_blocks, causal)
        self.activation = activation
        self.feedforward_input = nn.Linear(dim, feedforward_dim)
        self.feedforward_output = nn.Linear(feedforward_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.start_from(
            (self.query_key_value, self.feedforward_input), (self.attention_output, self.feedforward_output)
        )

    def forward(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Map states (B, L, D) to (B, L, D), see :class:`SelfAttentionBlock`."""
        states = states + self.dropout(self.attend(self.attention_norm(states), real))
        hidden = self.activation(self.feedforward_input(self.feedforward_norm(states)))
        added: Tensor = self.dropout(self.feedforward_output(hidden))
        return states + added


class TransformerEncoder(nn.ModuleList):
    """A stack of blocks of any kind; in a state dictionary each has its number alone for a name.

    Args:
        block: makes one block.
        num_blocks: how many.
    """

    def __init__(self, block: Callable[[], nn.Module], num_blocks: int) -> None:
        super().__init__(block() for _ in range(num_blocks))

    def forward(self, states: Tensor, real: Tensor | None = None, *more: Tensor | None) -> Tensor:
        """Map states (B, L, D) to (B, L, D) by one block after the other.

        Args:
            states: the states.
            real: (B, L) bool, True = a position that others may see, at least one in each row; None = all.
            *more: what blocks of this kind take besides.
        """
        for block in self:
            states = block(states, real, *more)
        return states
