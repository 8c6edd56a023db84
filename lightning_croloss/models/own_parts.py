"""The loss and the sampler of a model: copies, so that what a caller hands over stays as it is."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from lightning_croloss.common.argument_types import told, wanted
from lightning_croloss.losses import CROLoss, RetrievalLoss
from lightning_croloss.negatives import Negatives, UniformNegatives

Part = TypeVar("Part", RetrievalLoss, Negatives)


def own_loss(loss: RetrievalLoss | None, num_items: int) -> RetrievalLoss:
    """Return a model's own copy of a loss, which knows the size of the catalogue.

    Args:
        loss: the loss that the model was given; None is ``CROLoss()``.
        num_items: size of the catalogue.

    Raises:
        ValueError: the loss was built for another catalogue, or its values do not fit this one.
        TypeError: it is not a loss, or cannot be copied.
    """
    if loss is not None and not isinstance(loss, RetrievalLoss):
        raise TypeError(f"loss must be {wanted(RetrievalLoss | None)}, got {told(loss, RetrievalLoss)}")
    own = CROLoss() if loss is None else _copied("loss", loss)
    if own.num_items is None:
        own.set_num_items(num_items)
    elif own.num_items != num_items:
        raise ValueError(
            f"the loss was given num_items={own.num_items}, but the catalogue has {num_items} items: "
            "leave it out"
        )
    for name, value in own.schedulable().items():
        own.check_value(name, float(value))  # again, now that the catalogue is known
    return own


def choice_of(loss: RetrievalLoss) -> dict[str, Any] | None:
    """Return what a rule chose for a loss that was told only n; None for any other."""
    return loss.by_rule if isinstance(loss, CROLoss) else None


def keep_choice(loss: RetrievalLoss, kept: object) -> bool:
    """Let a loss go on with what the rule chose when a checkpoint was written.

    Args:
        loss: the loss of a model that was built again, perhaps under another rule.
        kept: what :func:`choice_of` returned for the checkpoint, or None.

    Returns:
        Whether the loss is another now.

    Raises:
        ValueError: it is no such record.
    """
    if kept is None or not isinstance(loss, CROLoss):
        return False
    try:
        return loss.take_by_rule(kept)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the checkpoint is damaged: {error}") from error


def own_negatives(negatives: Negatives | None, num_items: int) -> Negatives:
    """Return a model's own copy of a sampler, which knows the size of the catalogue.

    Args:
        negatives: the sampler that the model was given; None is ``UniformNegatives()``.
        num_items: size of the catalogue.

    Raises:
        TypeError: it is not a sampler, or cannot be copied.
    """
    if negatives is not None and not isinstance(negatives, Negatives):
        raise TypeError(f"negatives must be {wanted(Negatives | None)}, got {told(negatives, Negatives)}")
    own = UniformNegatives() if negatives is None else _copied("negatives", negatives)
    own.set_num_items(num_items)
    return own


def _copied(argument: str, given: Part) -> Part:
    try:
        return copy.deepcopy(given)
    except (RuntimeError, TypeError) as error:
        # torch refuses tensors that have a history, Python locks and open files
        raise TypeError(
            f"{argument}: a model works with a copy, and this {type(given).__name__} cannot be copied "
            f"({str(error).splitlines()[0]}): detach what it keeps of a step, or give a new one"
        ) from error
