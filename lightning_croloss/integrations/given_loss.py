"""Checks the loss that an integration is given."""

import reprlib
from typing import Any

from lightning_croloss.losses import RetrievalLoss


def given_loss(loss: Any, one_number: bool = True) -> RetrievalLoss:
    """Return the loss.

    Args:
        loss: what was given.
        one_number: whether the framework's trainer takes the loss of a batch as one number.

    Raises:
        TypeError: it is no loss of this package.
        ValueError: its ``reduction`` is "none", but one number is wanted.
    """
    if not isinstance(loss, RetrievalLoss):
        got = f"the class {loss.__name__}: call it" if isinstance(loss, type) else reprlib.repr(loss)
        raise TypeError(f"loss must be a loss of lightning_croloss, such as CROLoss(), got {got}")
    if one_number and loss.reduction == "none":
        raise ValueError('the trainer takes one number: give the loss reduction="mean" or "sum"')
    return loss
