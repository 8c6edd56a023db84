"""ScheduledValues: what somebody may have set a loss's values to since the last step."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Schedulable(Protocol):
    """What is asked of a loss."""

    def schedulable(self) -> dict[str, Tensor]:
        """Return the values that may be set."""

    def check_value(self, name: str, value: float) -> None:
        """Raise ``ValueError`` if a value must not be set so."""


class ScheduledValues:
    """Checks the values that ``RetrievalLoss.schedulable`` hands out, whoever sets them, once they changed.

    They are scalars of the CPU, so that reading them waits for nothing. A value that is out of range would
    end in NaN a few operations later, or in a loss that has no gradient.
    """

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def keep(self, loss: Schedulable) -> None:
        """Take the values as the constructor has checked them."""
        self._seen = {
            name: float(value)
            for name, value in loss.schedulable().items()
            if isinstance(value, Tensor) and value.is_cpu and not value.dim()
        }

    def check(self, loss: Schedulable) -> None:
        """Check the values that are not those of the last call; a compiled graph is left alone.

        Raises:
            ValueError: the loss must not have such a value.
            TypeError: a value was replaced by something that is not a scalar tensor.
        """
        if torch.compiler.is_compiling():
            return
        for name, value in loss.schedulable().items():
            if not isinstance(value, Tensor) or value.dim():
                raise TypeError(_replaced(loss, name, value))
            if not value.is_cpu or value.requires_grad:  # of a loss of one's own, which learns it
                continue
            number = float(value)
            if number == self._seen.get(name):
                continue
            try:
                loss.check_value(name, number)
            except ValueError as error:
                raise ValueError(f"{type(loss).__name__}, {name} as it was set: {error}") from error
            self._seen[name] = number


def _replaced(loss: Schedulable, name: str, value: Any) -> str:
    return (
        f"{name} of {type(loss).__name__} was replaced by {value!r:.60}: set it by "
        f'loss.schedulable()["{name}"].fill_(…), with a number'
    )
