"""What torch-rechub's models return, and of which items."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def sampled_names(model: Any) -> tuple[str, str] | None:
    """Return the names of two features: a target's id, and those of the negatives that the data has sampled.

    None: the model takes no such negatives. SINE calls the second ``neg_item_features``, and has names in
    place of features.
    """
    drawn = getattr(model, "neg_item_feature", None) or getattr(model, "neg_item_features", None)
    if not drawn or not hasattr(model, "item_features"):
        return None
    target, negatives = (getattr(of[0], "name", of[0]) for of in (model.item_features, drawn))
    return target, negatives


def towers(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the vectors (B, D) of a batch's users, and those of their items.

    Raises:
        ValueError: the model has several vectors of a user, or none of the item.
    """
    users, items = model.user_tower(batch), model.item_tower(batch)
    if isinstance(users, Tensor) and users.dim() == 3 and users.shape[1] == 1:
        users = users[:, 0]
    if isinstance(items, Tensor) and items.dim() == 3:
        items = items[:, 0]  # behind it come sampled negatives
    if not all(isinstance(part, Tensor) and part.dim() == 2 for part in (users, items)):
        raise ValueError(
            f"in_batch_neg needs vectors (B, D) of users and items, but the towers of {type(model).__name__} "
            f"return {shape_of(users)} and {shape_of(items)}: take mode=1 or 2, or give NARM or STAMP its "
            "item_feature"
        )
    return users, items


def misfit(model: Any, mode: int, needed: str, scores: Any) -> ValueError:
    """Return the error of a model that does not return what a mode needs."""
    return ValueError(
        f"mode={mode} needs {needed}, but {type(model).__name__} returns {shape_of(scores)}: take "
        "another mode or in_batch_neg=True"
    )


def shape_of(found: Any) -> Any:
    """Return the shape of a tensor, those of a tuple, and all else as it is."""
    if isinstance(found, tuple):
        return tuple(shape_of(part) for part in found)
    return tuple(found.shape) if isinstance(found, Tensor) else found
