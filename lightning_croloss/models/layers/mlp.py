"""A stack of dense layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def mlp(input_dim: int, hidden_dims: Sequence[int], output_dim: int, dropout: float) -> nn.Sequential:
    """Build dense layers with ReLU and dropout between them; the output is linear.

    Args:
        input_dim: width of the input.
        hidden_dims: widths of the hidden layers, none for a single linear map.
        output_dim: width of the output.
        dropout: probability that a hidden unit is dropped in training.
    """
    layers: list[nn.Module] = []
    width = input_dim
    for hidden in hidden_dims:
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, output_dim))
