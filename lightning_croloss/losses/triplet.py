"""TripletLoss: the positive must beat each negative by a margin."""

from __future__ import annotations

import math

from torch import Tensor

from lightning_croloss.losses.kernels import HingeKernel
from lightning_croloss.losses.pairwise import PairwiseLoss
from lightning_croloss.losses.resolution import Comparison


class TripletLoss(PairwiseLoss):
    """Mean over the negatives of ``max(0, (s_j − s₊) / τ + margin)`` (Weinberger and Saul, 2009).

    Args:
        margin: by how much the positive must win, in units of the temperature.
        temperature: τ, by which score differences are divided.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    always_printed = ("margin", "temperature")

    def __init__(
        self,
        margin: float = 0.5,
        temperature: float = 0.1,
        num_items: int | None = None,
        *,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(
            temperature, num_items, reduction=reduction, learnable_temperature=learnable_temperature
        )
        if not 0.0 < margin < math.inf:
            raise ValueError(f"margin must be a positive number, got {margin}")
        self.margin = float(margin)

    def comparison(self) -> Comparison:
        """Return the hinge and the temperature of now."""
        return Comparison(HingeKernel(self.margin), float(self.temperature), pairwise=True)

    def pair_losses(self, difference: Tensor) -> Tensor:
        """Return max(0, difference + margin)."""
        return (difference + self.margin).clamp(min=0.0)
