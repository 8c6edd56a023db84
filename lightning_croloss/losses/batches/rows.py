"""Rows: several positions or several positives of a user, one row for each."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids, ItemLists, rows_of
from lightning_croloss.common.unread_values import is_transformed
from lightning_croloss.losses.batches.metadata import BatchMetadata, VectorBatch
from lightning_croloss.losses.batches.reduction import Fold
from lightning_croloss.losses.batches.scored import rank_dtype

Flat = tuple[Tensor, Tensor, Tensor | None, Tensor | None, "int | Tensor | None", Tensor | None]


def one_row_each(batch: VectorBatch) -> VectorBatch:
    """Return a batch with one row for each pair of user and positive.

    Args:
        batch: users (B, L, D) and positives (B, L, D), or users (B, D) and positives (B, P, D), with ids and
            weights as ``RetrievalLoss.from_embeddings`` takes them.

    Returns:
        The batch of R rows; its ``metadata.fold`` brings their losses back to (B, L), or to (B,).

    Raises:
        ValueError: shapes do not fit.
    """
    users, positives, candidates, metadata = batch
    several = users.dim() == 2
    shape = positives.shape[:2]
    targets = metadata.target_ids
    row_of = torch.arange(shape[0], device=positives.device).repeat_interleave(shape[1])
    given = _Given(shape, row_of, None if targets is None else targets.flatten() != 0)
    excluded = metadata.excluded_ids
    if several and targets is not None:  # the other positives of a row are not its negatives
        excluded = targets if excluded is None else _joined(excluded, targets)
    rows = BatchMetadata(
        target_ids=None if targets is None else given.real(targets.flatten()),
        candidate_ids=_each(metadata.candidate_ids, 1, given, "candidate_ids"),
        excluded_ids=None if excluded is None else given.of_excluded(excluded),
        log_prob=_each(metadata.log_prob, 1, given, "candidate_log_prob"),
        num_sampled=given.of_number(metadata.num_sampled, "num_sampled"),
        sample_weight=_weights(
            metadata.sample_weight, given, several, rank_dtype(users.dtype, positives.dtype, candidates.dtype)
        ),
        num_items=metadata.num_items,
        unit_candidates=metadata.unit_candidates,
        fold=Fold(shape[:1], given.row_of) if several else Fold(shape, given.position),
    )
    if metadata.user_ids is not None:
        rows = replace(rows, user_ids=metadata.user_ids[given.row_of])
    users = users[given.row_of] if several else given.vectors(users.flatten(0, 1))
    positives = given.vectors(positives.flatten(0, 1))
    return VectorBatch(users, positives, _candidates(candidates, given), rows)


class _Given:
    """Which rows (R,) there are among all pairs (B × L): those whose target is not padding.

    On a device all pairs stay, as their number would be waited for, and padding weighs nothing.
    """

    def __init__(self, shape: torch.Size, row_of: Tensor, real: Tensor | None) -> None:
        self.shape, self.all_real = shape, real
        #: of each of the B how many rows it has
        self.number = None if real is None else real.view(shape).sum(1)
        self._kept = None
        if real is not None and real.device.type == "cpu" and not is_transformed(real):
            self._kept, self.all_real = real.nonzero().squeeze(1), None
        self.row_of = self.real(row_of)
        self.position = self.real(torch.arange(len(row_of), device=row_of.device))

    def real(self, values: Tensor) -> Tensor:
        """Return those of values (B × L, …) that belong to rows."""
        return values if self._kept is None else values[self._kept]

    def vectors(self, values: Tensor) -> Tensor:
        """Return the vectors (B × L, D) of the rows, 0 where a row is padding: 0 times NaN would be NaN."""
        if self.all_real is not None:
            return values.masked_fill(~self.all_real.unsqueeze(1), 0.0)
        return self.real(values)

    def of_number(self, value: int | Tensor | None, name: str) -> int | Tensor | None:
        """Return a number as it is, and of (B,) or (B, L) that of each row."""
        if not isinstance(value, Tensor) or value.dim() == 0:
            return value
        if value.shape == self.shape:
            return self.real(value.flatten())
        if value.shape == self.shape[:1]:
            return value[self.row_of]
        raise ValueError(f"{name} must be (B,) or {tuple(self.shape)}, got {tuple(value.shape)}")

    def of_excluded(self, excluded: Ids) -> Ids:
        """Return the lists of each row."""
        if isinstance(excluded, Tensor) and excluded.dim() == 3 and excluded.shape[:2] == self.shape:
            return self.real(excluded.flatten(0, 1))
        if len(excluded) != self.shape[0] or (isinstance(excluded, Tensor) and excluded.dim() != 2):
            got = tuple(excluded.shape) if isinstance(excluded, Tensor) else f"{len(excluded)} lists"
            raise ValueError(f"excluded_ids must be (B, E) with B={self.shape[0]}, got {got}")
        return rows_of(excluded, self.row_of)


def _joined(excluded: Ids, targets: Tensor) -> Ids:
    """Return the excluded items of each row, or of each of its positives, and its targets (B, P)."""
    if isinstance(excluded, ItemLists):
        return excluded.joined(targets)
    if excluded.dim() == 3:
        targets = targets.unsqueeze(1).expand(*targets.shape, targets.shape[1])
    return torch.cat([excluded.to(targets.dtype), targets], dim=-1)


def _each(value: Tensor | None, extra: int, given: _Given, name: str) -> Tensor | None:
    """Return what (M, …) all rows share as it is, and of (B, M, …) or (B, L, M, …) the part of each row."""
    if value is None or value.dim() == extra:
        return value
    if value.dim() == extra + 1 and value.shape[0] == given.shape[0]:
        return value[given.row_of]
    if value.dim() == extra + 2 and value.shape[:2] == given.shape:
        return given.real(value.flatten(0, 1))
    raise ValueError(
        f"{name} must be shared by all rows, or begin with B={given.shape[0]} or (B, L)="
        f"{tuple(given.shape)}, got {tuple(value.shape)}"
    )


def _candidates(candidates: Tensor, given: _Given) -> Tensor:
    each = _each(candidates, 2, given, "candidates")
    assert each is not None
    return each


def _weights(sample_weight: Tensor | None, given: _Given, several: bool, dtype: torch.dtype) -> Tensor | None:
    """Return the weight of each row: its positions' own, or a share of that of its user, in ``dtype``."""
    weight = given.of_number(sample_weight, "sample_weight")
    weight = weight if isinstance(weight, Tensor) else None
    if several:
        number = (
            given.row_of.new_full(given.shape[:1], given.shape[1]) if given.number is None else given.number
        )
        share = number.to(dtype).clamp(min=1).reciprocal()[given.row_of]
        weight = share if weight is None else weight * share
    if given.all_real is not None:
        real = given.all_real.to(dtype)
        weight = real if weight is None else weight * real
    return weight


def flat_scores(
    positive: Tensor,
    negative: Tensor,
    mask: Tensor | None,
    log_prob: Tensor | None,
    num_sampled: int | Tensor | None,
    sample_weight: Tensor | None,
) -> Flat:
    """Return the arguments of ``RetrievalLoss.forward`` for (B, L) positions as those of B · L rows."""
    shape = positive.shape
    row_of = torch.arange(shape[0], device=positive.device).repeat_interleave(shape[1])
    given = _Given(shape, row_of, None)
    weight = given.of_number(sample_weight, "sample_weight")
    return (
        positive.flatten(),
        negative.flatten(0, 1),
        _each(mask, 1, given, "negative_mask"),
        _each(log_prob, 1, given, "negative_log_prob"),
        given.of_number(num_sampled, "num_sampled"),
        weight if isinstance(weight, Tensor) else None,
    )
