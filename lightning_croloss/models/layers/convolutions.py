"""Convolutions of a short history, taken for an image of its events and their features."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EventConvolutions(nn.Module):
    """Patterns of events that follow one another, and weighted sums of the events.

    Tang & Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding", WSDM
    2018. A horizontal filter of height h is ``max_t relu(Σ_i w_i · x_{t+i} + b)``, over the places t of h
    events that follow one another; there are as many of each height 1 … L. A vertical filter is
    ``Σ_t v_t x_t``, a weight for each position.

    Args:
        dim: width D of the events.
        length: their number L.
        num_horizontal: number of horizontal filters of each height.
        num_vertical: number of vertical filters.
    """

    def __init__(self, dim: int, length: int, num_horizontal: int, num_vertical: int) -> None:
        super().__init__()
        self.horizontal = nn.ModuleList(
            nn.Conv1d(dim, num_horizontal, height) for height in range(1, length + 1)
        )
        self.vertical = nn.Linear(length, num_vertical, bias=False)
        for layer in self.horizontal:
            assert isinstance(layer, nn.Conv1d)
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=(dim * layer.kernel_size[0]) ** -0.5)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.vertical.weight, std=length**-0.5)
        self.output_dim = length * num_horizontal + num_vertical * dim

    def forward(self, events: Tensor) -> Tensor:
        """Map events (B, L, D), oldest first, to (B, output_dim): horizontal filters, then vertical ones."""
        image = events.mT  # (B, D, L)
        found = [torch.relu(layer(image)).amax(-1) for layer in self.horizontal]
        sums = self.vertical(image).mT.flatten(1)
        return torch.cat([*found, sums], dim=-1)
