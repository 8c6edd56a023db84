"""The dense layers that each interest of a user passes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lightning_croloss.common.checks import check_probability, check_widths
from lightning_croloss.models.layers.mlp import mlp


def interest_layers(dim: int, hidden_dims: Sequence[int] | None, dropout: float) -> nn.Module:
    """Build dense layers from interests (B, K, D) to interests (B, K, D).

    Args:
        dim: width D.
        hidden_dims: widths of the hidden layers, empty for a single linear map; None leaves the interests as
            they are.
        dropout: probability that a hidden unit is dropped in training.

    Raises:
        ValueError: a width or the dropout is out of range.
    """
    check_widths(hidden_dims=hidden_dims or ())
    check_probability(dropout=dropout)
    return nn.Identity() if hidden_dims is None else mlp(dim, hidden_dims, dim, dropout)
