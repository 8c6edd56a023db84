"""The loss and the sampler of a model: copies, so that what a caller hands over stays as it is."""

from __future__ import annotations

import copy

from lightning_croloss.losses import CROLoss, RetrievalLoss
from lightning_croloss.negatives import Negatives, UniformNegatives


def own_loss(loss: RetrievalLoss | None, num_items: int) -> RetrievalLoss:
    """Return a model's own copy of a loss, which knows the size of the catalogue.

    Args:
        loss: the loss that the model was given; None is ``CROLoss()``.
        num_items: size of the catalogue.

    Raises:
        ValueError: the loss was built for another catalogue, or its values do not fit this one.
    """
    own = CROLoss() if loss is None else copy.deepcopy(loss)
    if own.num_items is None:
        own.num_items = num_items
    elif own.num_items != num_items:
        raise ValueError(
            f"the loss was given num_items={own.num_items}, but the catalogue has {num_items} items: "
            "leave it out"
        )
    for name, value in own.schedulable().items():
        own.check_value(name, float(value))  # again, now that the catalogue is known
    return own


def own_negatives(negatives: Negatives | None, num_items: int) -> Negatives:
    """Return a model's own copy of a sampler, which knows the size of the catalogue.

    Args:
        negatives: the sampler that the model was given; None is ``UniformNegatives()``.
        num_items: size of the catalogue.
    """
    own = UniformNegatives() if negatives is None else copy.deepcopy(negatives)
    own.set_num_items(num_items)
    return own
