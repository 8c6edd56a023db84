"""NaNGuard: stop training when the loss is not finite, in all processes alike."""

from __future__ import annotations

import math

from torch import Tensor, distributed

from lightning_croloss.errors import NonFiniteLossError
from lightning_croloss.losses import RetrievalLoss


def mean_of_processes(value: Tensor) -> Tensor:
    """Return the mean of a scalar over the processes, NaN if it is NaN in one; every process must call it."""
    mean = value.detach().clone()
    distributed.all_reduce(mean)
    return mean / distributed.get_world_size()


class NaNGuard:
    """Stops a training run whose loss is NaN or infinite.

    On the CPU every step is checked, before the weights are touched. On an accelerator looking at the value
    would stall it, so it is looked at when values are logged anyway: a loss that is NaN stays NaN.

    Args:
        loss: the loss, whose parameters the message shows.
    """

    def __init__(self, loss: RetrievalLoss) -> None:
        self._loss = loss

    def check(self, value: Tensor, step: int, wait: bool) -> None:
        """Check the loss of one step.

        Args:
            value: () the loss of this step.
            step: number of the step, for the message.
            wait: whether waiting for an accelerator is acceptable now.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite.
        """
        if value.device.type != "cpu" and not wait:
            return
        if math.isfinite(float(value)):  # no six operators for one number
            return
        state = {name: float(entry) for name, entry in self._loss.schedulable().items()}
        state |= {name: float(entry) for name, entry in self._loss.diagnostics.items()}
        described = ", ".join(f"{name}={entry:.6g}" for name, entry in state.items())
        raise NonFiniteLossError(
            f"the training loss is {float(value.detach())} at step {step} ({type(self._loss).__name__}: "
            f"{described}): lower the learning rate, raise the temperature or clip gradients; checkpoints "
            "saved before are intact"
        )
