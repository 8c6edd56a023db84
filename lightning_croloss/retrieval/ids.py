"""Item ids as callers have them, and as retrieval works with them: from 1, with 0 for padding."""

from __future__ import annotations

import warnings
from numbers import Integral

import torch
from torch import Tensor

#: What stands for "no item" where ids count from 0 and no id is padding.
NO_ITEM = -1


def check_padding_id(padding_id: int | None, num_items: int) -> None:
    """Check how ids are counted.

    Raises:
        ValueError: the padding would be the id of an item.
        TypeError: it is not an integer.
    """
    if padding_id is None:
        return
    if not isinstance(padding_id, Integral) or isinstance(padding_id, bool):
        raise TypeError(f"padding_id must be an integer or None, got {padding_id!r}")
    if 0 < padding_id < num_items:
        raise ValueError(
            f"padding_id={padding_id} is the id of an item, since ids count from 0 unless padding_id is 0: "
            f"give an id that no item has, such as -1 or {num_items}, or None if nothing is padded"
        )


def check_ids(
    name: str, ids: Tensor, num_users: int, num_items: int, padding_id: int | None = 0, fill: bool = False
) -> Tensor:
    """Return ``ids`` (B, X) as int64 that count from 1, with 0 for padding.

    Args:
        name: the argument, for errors.
        ids: (B, X).
        num_users: B.
        num_items: number of items.
        padding_id: 0 = ids count from 1 and 0 is padding; any other: they count from 0, and that is padding;
            None: they count from 0, and none is padding.
        fill: whether a row may end in ``padding_id``, or -1, for want of items although nothing is padded.

    Raises:
        ValueError: if the shape does not fit or an id is not that of an item.
        TypeError: if they are not integers.
    """
    if not isinstance(ids, Tensor):
        raise TypeError(f"{name} must be a tensor of item ids, (B, X), got {type(ids).__name__}")
    if ids.ndim != 2 or ids.shape[0] != num_users:
        how = f"pad shorter rows with {NO_ITEM if padding_id is None else padding_id}"
        if ids.ndim == 1:
            how = f"a single id for each user is {name}.unsqueeze(1)"
        raise ValueError(
            f"{name} must have shape ({num_users}, X), one row for each user, got {tuple(ids.shape)}: {how}"
        )
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{name} must hold integer item ids, got {ids.dtype}: convert them to int64")
    ids = ids.long()
    filler = NO_ITEM if padding_id is None and fill else padding_id
    is_padding = None if filler in (0, None) else ids == filler
    real = ids if is_padding is None else ids.masked_fill(is_padding, 0)
    if ids.numel():
        low, high = (int(bound) for bound in torch.aminmax(real))
        most = num_items if padding_id == 0 else num_items - 1
        if low < 0 or high > most:
            raise ValueError(_outside(name, low if low < 0 else high, num_items, padding_id))
    if padding_id == 0:
        return ids
    return ids + 1 if is_padding is None else (ids + 1).masked_fill(is_padding, 0)


def checked_excluded(
    excluded: Tensor | None, users: Tensor, num_items: int, padding_id: int | None = 0
) -> Tensor:
    """Return ``excluded`` (B, E) as int64, (B, 0) for None; raises as :func:`check_ids` does."""
    if excluded is None:
        return torch.zeros(users.shape[0], 0, dtype=torch.int64, device=users.device)
    return check_ids("excluded", excluded, users.shape[0], num_items, padding_id)


def returned_ids(ids: Tensor, padding_id: int | None) -> Tensor:
    """Return ids that count from 1, 0 = no item, as the caller has them; -1 where nothing is padded."""
    if padding_id == 0:
        return ids
    filler = NO_ITEM if padding_id is None else padding_id
    return torch.where(ids == 0, filler, ids - 1)


def warn_of_ids_from_0(targets: Tensor, num_items: int) -> None:
    """Warn of targets (B, T) in which 0 is no padding, so that ids seem to count from 0 and not from 1.

    Nobody pads single targets, and padding stands at the ends of a row. Looked at on the host alone, as
    nothing may wait for a device for it.
    """
    if targets.device.type != "cpu" or not targets.numel():
        return
    padding = targets == 0
    if targets.shape[1] == 1:
        wrong, where = padding, "as the only target of a user, who then does not count"
    else:
        before, after = (targets > 0).cummax(1).values, (targets > 0).flip(1).cummax(1).values.flip(1)
        wrong, where = padding & before & after, "between other targets, where it does not count"
    if wrong.any() and int(targets.max()) < num_items:  # else ids do count from 1
        warnings.warn(
            f"targets hold the id 0, which is padding, {where}: if ids count from 0, pass padding_id=None, "
            "and row i of item_matrix is item i",
            stacklevel=4,
        )


def warn_of_padding_row(item_matrix: Tensor) -> None:
    """Warn if the first row alone is 0, as that of an embedding's padding: it is item 1 here."""
    if item_matrix.device.type != "cpu" or len(item_matrix) < 2 or item_matrix[0].any():
        return
    if item_matrix[1:].any(1).all():
        warnings.warn(
            "the first row of item_matrix alone is 0, as an embedding's row of padding is, but row i is item "
            "i + 1: leave it out, item_matrix[1:]",
            stacklevel=4,
        )


def _outside(name: str, found: int, num_items: int, padding_id: int | None) -> str:
    if padding_id == 0:
        known, counted = num_items, "the number of items (0 = padding)"
    else:
        known, counted = num_items - 1, f"{num_items} items counted from 0 (padding_id={padding_id})"
    what = "map the items by the catalogue's vocabulary first"
    if found < 0:
        what = f"if ids count from 0 and {found} is padding, pass padding_id={found}"
    elif padding_id != 0 and found == num_items:
        what = "if ids count from 1 and 0 is padding, leave padding_id out"
    return f"{name} must hold item ids in 0 … {known}, {counted}, got {found}: {what}"
