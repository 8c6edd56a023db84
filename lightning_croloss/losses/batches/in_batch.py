"""In-batch negatives: the items of the other rows, without a row's own item, across processes if wanted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed

from lightning_croloss.common.gathering import gathered, row_counts
from lightning_croloss.losses.batches.item_counts import CountedCatalogue
from lightning_croloss.losses.batches.item_ids import inner_ids
from lightning_croloss.losses.batches.metadata import BatchMetadata, VectorBatch


class Pairs(NamedTuple):
    """The batches of users and items that are pairs.

    Attributes:
        forth: that of users that rank items.
        back: that of items that rank users.
        first: the candidate that is the positive of row 0; the other rows' follow it.
        distinct: whether each candidate is the positive of its own row alone, and none is padding.
        own_users: (B, C) bool, candidates of ``back`` that are the row's own user; None = not known.
    """

    forth: VectorBatch
    back: VectorBatch
    first: int
    distinct: bool
    own_users: Tensor | None


def own_item_batches(
    users: Tensor,
    items: Tensor,
    item_ids: Tensor | None,
    counted: CountedCatalogue | None,
    sample_weight: Tensor | None,
    num_items: int | None,
    gather: bool,
    user_ids: Tensor | None,
) -> Pairs:
    """Return the batches of pairs, row i's positive being item i.

    Shapes were checked by ``lightning_croloss.losses.checking.arguments_given``.

    Args:
        users: (B, D).
        items: (B, D), row i's positive.
        item_ids: (B,) any integers; None = all are different.
        counted: the training data's counts, by id.
        sample_weight: (B,) or None.
        num_items: size of the catalogue, if it is known.
        gather: whether the rows of the other processes are candidates too.
        user_ids: (B,) any integers; None = they are not compared.

    Raises:
        ValueError: there are counts without ids, or ids that were not counted.
    """
    rows = users.shape[0]
    if item_ids is None and counted is not None:
        raise ValueError("item_counts is indexed by item_ids: give item_ids (B,) too")
    log_prob = None if counted is None or item_ids is None else counted.log_prob_of(item_ids)
    gathers = gather and distributed.is_available() and distributed.is_initialized()
    sizes = row_counts(rows, users.device) if gathers else [rows]
    before = sum(sizes[: distributed.get_rank()]) if gathers else 0
    distinct = item_ids is None and len(set(sizes)) == 1
    if item_ids is None:
        item_ids = torch.arange(before, before + rows, device=users.device)
    own = inner_ids(item_ids, None)
    ids, all_items, all_users = own, items, users
    if gathers:
        ids, all_items, all_users = (gathered(part, max(sizes)) for part in (own, items, users))
        log_prob = None if log_prob is None else gathered(log_prob, max(sizes))
    own_users = None
    if user_ids is not None:
        of_rows = inner_ids(user_ids, None)
        of_candidates = gathered(of_rows, max(sizes)) if gathers else of_rows
        own_users = of_rows.unsqueeze(1) == of_candidates
    if counted is not None and num_items is None:
        num_items = counted.num_items
    forth, back = (
        BatchMetadata(own, ids, None, given, sum(sizes) - 1, sample_weight, size)
        for given, size in ((log_prob, num_items), (None, None))
    )
    return Pairs(
        VectorBatch(users, items, all_items, forth),
        VectorBatch(items, users, all_users, back),
        distributed.get_rank() * max(sizes) if gathers else 0,
        distinct,
        own_users,
    )
