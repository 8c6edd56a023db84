"""OneTemperatureLoss: what losses share whose only schedulable value is a temperature."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from lightning_croloss.losses.arguments import check_temperature, scheduled_value
from lightning_croloss.losses.base import RetrievalLoss


class OneTemperatureLoss(RetrievalLoss):
    """A loss with one temperature, which may be scheduled or learned.

    Args:
        temperature: τ, by which scores or their differences are divided.
        num_items: size of the catalogue N, needed with ``negative_log_prob`` only; None is filled by
            ``RetrievalModel``.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    always_printed: ClassVar[tuple[str, ...]] = ("temperature",)

    def __init__(
        self,
        temperature: float = 0.1,
        num_items: int | None = None,
        *,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(num_items, reduction=reduction)
        self.temperature = scheduled_value(check_temperature(temperature))
        if learnable_temperature:
            self.learn_temperature()

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``temperature``, if it is not learned."""
        return {} if self.raw_temperature is not None else {"temperature": self.temperature}

    def check_value(self, name: str, value: float) -> None:
        """Refuse a temperature that is not positive."""
        check_temperature(value)
