"""Checks of what ``RetrievalLoss.from_sharded_embeddings`` is given, before anything is exchanged."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids
from lightning_croloss.losses.batches.metadata import BatchMetadata, VectorBatch
from lightning_croloss.losses.batches.reduction import num_processes
from lightning_croloss.losses.batches.rows import one_row_each
from lightning_croloss.losses.checking.arguments_given import check_embeddings, check_user_ids
from lightning_croloss.sharding.row_shards import RowShards


class Shardable(Protocol):
    """What is asked of a loss."""

    @property
    def supports_shards(self) -> bool:
        """Whether it can be computed over shards."""


def refuse_unshardable(loss: Shardable, shards: RowShards) -> None:
    """Raise ``ValueError``, on all processes alike, if the loss or the shards do not fit."""
    if not loss.supports_shards:
        raise ValueError(
            f"{type(loss).__name__} cannot be computed over a catalogue in shards, as its rows need more of "
            "their negatives than sums: use sampled negatives, or CROLoss"
        )
    if shards.num_shards != num_processes():
        raise ValueError(
            f"shards must be as many as there are processes, {num_processes()}, got {shards.num_shards}: "
            "RowShards.here(num_rows) makes them so"
        )


def checked_rows(
    users: Tensor,
    positives: Tensor,
    candidates: Tensor,
    shards: RowShards,
    target_ids: Tensor,
    excluded_ids: Ids | None,
    log_prob: Tensor | None,
    sample_weight: Tensor | None,
    user_ids: Tensor | None,
    num_items: int | None,
    unit_candidates: bool,
    of_table: bool,
) -> VectorBatch:
    """Return the rows of this process, one for each pair of user and positive, and its items.

    The arguments are those of ``RetrievalLoss.from_sharded_embeddings``.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: types, shapes or devices do not fit.
    """
    own = range(shards.start, shards.stop) if of_table else shards.own_items
    if isinstance(candidates, Tensor) and candidates.dim() == 2 and len(candidates) != len(own):
        raise ValueError(
            f"candidates must be the vectors of this process's {len(own):,} {'rows' if of_table else 'items'}"
            f", rows {own.start} to "
            f"{own.stop - 1} of the table, got {tuple(candidates.shape)}"
        )
    if target_ids is None:
        raise TypeError("target_ids must be a tensor, (B,): the targets are among the candidates")
    device = users.device if isinstance(users, Tensor) else None
    ids = torch.arange(own.start, own.stop, device=device, dtype=shards.id_dtype)
    number = shards.num_rows - 1
    check_embeddings(
        users,
        positives,
        candidates,
        target_ids,
        ids,
        excluded_ids,
        log_prob,
        number,
        sample_weight,
        0,
    )
    if candidates.dim() != 2 or (log_prob is not None and log_prob.dim() != 1):
        raise ValueError("over shards candidates must be (M, D), shared by all rows, and their log q (M,)")
    for name, value in (("candidate_log_prob", log_prob), ("sample_weight", sample_weight)):
        if value is not None and value.requires_grad and torch.is_grad_enabled():
            raise ValueError(f"{name} gets no gradient over shards: detach it")
    if log_prob is not None and num_items is None:
        raise ValueError("candidate_log_prob needs the catalogue size: give the loss num_items")
    metadata = BatchMetadata.check(
        target_ids,
        ids,
        excluded_ids,
        log_prob,
        number,
        sample_weight,
        num_items,
        unit_candidates=unit_candidates,
    )
    if user_ids is not None:
        check_user_ids(user_ids, users.shape[:1], users.device)
        metadata = replace(metadata, user_ids=user_ids.long())
    batch = VectorBatch(users, positives, candidates, metadata)
    return one_row_each(batch) if users.dim() == 3 or positives.dim() == 3 else batch
