"""Positives: which columns of the logits are the positives of which row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.common.unread_values import is_unread


@dataclass(frozen=True)
class Positives:
    """The positives of R rows of logits, P in all, ordered by row.

    Attributes:
        rows: (P,) the row of each, ascending; None = positive i is the one of row i.
        columns: (P,) its column.
        counts: (P,) bool, whether the row counts; None = all do. On a CPU rows that are ignored have no
            positive at all; on a device that would wait for it, and they have one that does not count.
    """

    rows: Tensor | None
    columns: Tensor
    counts: Tensor | None = None

    @classmethod
    def of(cls, labels: Tensor, columns: int, ignore_index: int) -> Positives:
        """Find the positives.

        Args:
            labels: (R,) class indices, (R, P) padded class indices, or (R, C) bool.
            columns: number of classes C.
            ignore_index: what is no class index: a row to ignore, or padding.

        Raises:
            ValueError: a label is no class (looked at on the CPU only, as it would wait for another device).
        """
        if labels.dtype == torch.bool:
            return cls(*torch.nonzero(labels, as_tuple=True))
        labels = labels.long()  # a small type can hold neither ignore_index nor the number of columns
        on_host = labels.device.type == "cpu" and not is_unread(labels)
        if on_host and labels.dim() == 1 and not 0 <= ignore_index < columns and _all_within(labels, columns):
            return cls(None, labels)  # nothing is ignored
        kept = labels != ignore_index
        if on_host:
            _check_range(labels, kept, columns, ignore_index)
        if labels.dim() == 2:
            return cls._of_padded(labels, kept, columns)
        if not on_host:
            return cls(None, labels.masked_fill(~kept, 0), kept)
        if bool(kept.all()):
            return cls(None, labels)
        rows = torch.nonzero(kept).squeeze(1)
        return cls(rows, labels[rows])

    @classmethod
    def _of_padded(cls, labels: Tensor, kept: Tensor, columns: int) -> Positives:
        """Find those of padded class indices; one that comes twice in a row is one positive."""
        rows = torch.arange(labels.shape[0], device=labels.device).unsqueeze(1)
        pairs = torch.unique((rows * columns + labels)[kept])
        return cls(pairs // max(1, columns), pairs % max(1, columns))

    @property
    def number(self) -> int:
        """P."""
        return self.columns.shape[0]

    def of_rows(self, values: Tensor) -> Tensor:
        """Return of values (R, …) those of each positive's row, (P, …)."""
        return values if self.rows is None else values[self.rows]

    def per_row(self, rows: int, ignored: Tensor | None = None) -> Tensor | None:
        """Return the (P,) number of positives of each one's row; None = 1.

        Args:
            rows: R.
            ignored: (C,) bool, columns whose positives do not count.
        """
        if self.rows is None:
            return None if ignored is None else (~ignored[self.columns]).long()
        ones = torch.ones_like(self.rows) if ignored is None else (~ignored[self.columns]).long()
        total = torch.zeros(rows, dtype=ones.dtype, device=ones.device)
        return total.index_add_(0, self.rows, ones)[self.rows]

    def weight(self, sample_weight: Tensor | None, rows: int, dtype: torch.dtype) -> Tensor | None:
        """Return the (P,) weight of each: its row's, shared among the row's positives; None = 1.

        Args:
            sample_weight: (R,) or None.
            rows: R.
            dtype: type of the result.
        """
        weight = None if sample_weight is None else self.of_rows(sample_weight).to(dtype)
        if (number := self.per_row(rows)) is not None:
            weight = number.to(dtype).reciprocal() if weight is None else weight / number
        if self.counts is not None:
            weight = self.counts.to(dtype) if weight is None else weight.masked_fill(~self.counts, 0.0)
        return weight


def _all_within(labels: Tensor, columns: int) -> bool:
    if not labels.numel():
        return True
    least, most = labels.aminmax()
    return int(least) >= 0 and int(most) < columns


def _check_range(labels: Tensor, kept: Tensor, columns: int, ignore_index: int) -> None:
    if _all_within(labels, columns):
        return
    outside = kept & ((labels < 0) | (labels >= columns))
    if not outside.any():
        return
    first = outside.nonzero()[0].tolist()
    hint = (
        ": ids that begin with 1 need labels - 1, or a column for padding"
        if int(labels.max()) == columns
        else ""
    )
    raise ValueError(
        f"labels must be class indices from 0 to {columns - 1}, the logits having {columns} columns, or "
        f"ignore_index={ignore_index}; got {int(labels[tuple(first)])} at {first}{hint}"
    )
