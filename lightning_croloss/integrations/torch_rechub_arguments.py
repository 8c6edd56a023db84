"""Checks what torch-rechub's trainer is told of its negatives, and what a batch has."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_croloss.integrations.torch_rechub_outputs import sampled_names


def check_negatives(trainer: Any, item_id: str, item_counts: Any) -> None:
    """Check the arguments against each other.

    Args:
        trainer: torch-rechub's, with its arguments.
        item_id: name of the feature with the target's id.
        item_counts: (C,) or None.

    Raises:
        ValueError: there are no negatives, or an argument is missing or would do nothing.
    """
    if trainer.mode == 0 and not trainer.in_batch_neg:
        raise ValueError("mode=0 has no negatives: pass in_batch_neg=True, or mode=1 or 2 and its data")
    if trainer.in_batch_neg and not item_id:
        raise ValueError("in_batch_neg=True needs item_id: the name of the feature with the target's id")
    if trainer.hard_negative or trainer.in_batch_neg_ratio:
        raise ValueError("hard_negative and in_batch_neg_ratio would do nothing: the loss takes all")
    if item_counts is not None and trainer.mode == 1 and not trainer.in_batch_neg:
        raise ValueError("item_counts would do nothing with mode=1: take in_batch_neg=True, or mode=2")
    model = getattr(trainer.model, "module", trainer.model)
    if item_counts is not None and not trainer.in_batch_neg and sampled_names(model) is None:
        raise ValueError(
            f"item_counts would do nothing: {type(model).__name__} has no neg_item_feature, which names what "
            "the data has sampled: leave them out, or take in_batch_neg=True"
        )


def ids_of(batch: Mapping[str, Tensor], item_id: str) -> Tensor:
    """Return the ids (B,) of the targets.

    Raises:
        ValueError: the data has no such feature, or it is no id.
    """
    if item_id not in batch:
        raise ValueError(f"the data has no feature {item_id!r}, which item_id names: it has {[*batch]}")
    ids = batch[item_id]
    if ids.is_floating_point() or ids.numel() != len(ids):
        raise ValueError(
            f"item_id={item_id!r} is no id: one integer a row is, got {tuple(ids.shape)} {ids.dtype}"
        )
    return ids.flatten()
