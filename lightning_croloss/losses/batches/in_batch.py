"""In-batch negatives: the items of the other rows, without a row's own item, across processes if wanted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed

from lightning_croloss.common.gathering import gathered, row_counts
from lightning_croloss.common.known_partners import known_partners
from lightning_croloss.losses.batches.item_counts import CountedCatalogue
from lightning_croloss.losses.batches.item_ids import inner_ids
from lightning_croloss.losses.batches.metadata import BatchMetadata, VectorBatch


class Pairs(NamedTuple):
    """The batches of users and items that are pairs.

    Attributes:
        forth: that of users that rank items.
        back: that of items that rank users.
        first: the candidate that is the positive of row 0; the other rows' follow it.
        distinct: whether no candidate but a row's own positive is to be ignored.
    """

    forth: VectorBatch
    back: VectorBatch
    first: int
    distinct: bool


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
    """Return the batches of pairs, row i's positive being item i. None of the pairs is a negative.

    Shapes were checked by ``lightning_croloss.losses.checking.arguments_given``.

    Args:
        users: (B, D).
        items: (B, D), row i's positive.
        item_ids: (B,) any integers; None = all are different.
        counted: the training data's counts, by id.
        sample_weight: (B,) or None.
        num_items: size of the catalogue, if it is known.
        gather: whether the rows of the other processes are candidates too.
        user_ids: (B,) any integers; None = all are different, which is then not compared.

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
    distinct = item_ids is None and user_ids is None and len(set(sizes)) == 1
    if item_ids is None:
        item_ids = torch.arange(before, before + rows, device=users.device)
    own = inner_ids(item_ids, None)
    own_user = None if user_ids is None else inner_ids(user_ids, None)
    ids, all_items, all_users, of_users = own, items, users, own_user
    if gathers:
        ids, all_items, all_users = (gathered(part, max(sizes)) for part in (own, items, users))
        log_prob = None if log_prob is None else gathered(log_prob, max(sizes))
        of_users = None if own_user is None else gathered(own_user, max(sizes))
    if counted is not None and num_items is None:
        num_items = counted.num_items
    draws = sum(sizes) - 1
    if own_user is None or of_users is None:  # a user is one of its item's, which tells it from the others
        forth = BatchMetadata(own, ids, None, log_prob, draws, sample_weight, num_items)
        back = BatchMetadata(own, ids, None, None, draws, sample_weight)
    else:
        items_of_user = known_partners(own_user, of_users, ids)
        users_of_item = known_partners(own, ids, of_users)
        forth = BatchMetadata(own, ids, items_of_user, log_prob, draws, sample_weight, num_items)
        back = BatchMetadata(own_user, of_users, users_of_item, None, draws, sample_weight)
    return Pairs(
        VectorBatch(users, items, all_items, forth),
        VectorBatch(items, users, all_users, back),
        distributed.get_rank() * max(sizes) if gathers else 0,
        distinct,
    )
