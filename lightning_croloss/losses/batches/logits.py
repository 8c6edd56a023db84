"""LogitBatch: what a loss sees of logits and labels once ``RetrievalLoss.from_logits`` has checked them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightning_croloss.losses.batches.call_scores import LOWEST_SCORE, CallScores, spread_over
from lightning_croloss.losses.batches.labels import Labels
from lightning_croloss.losses.batches.metadata import BatchMetadata
from lightning_croloss.losses.batches.positives import Positives
from lightning_croloss.losses.batches.reduction import Fold
from lightning_croloss.losses.batches.scored import ScoredBatch, rank_dtype


@dataclass(frozen=True)
class LogitBatch:
    """Logits of R rows and their P positives, each of which is compared with its row's negatives alone.

    Attributes:
        logits: (R, C).
        positives: which columns are positives.
        mask: (C,) or (R, C) bool, True = ignore; None = nothing is ignored.
        log_prob: (C,) or (R, C) log q of each column; None = the columns are the whole catalogue.
        num_sampled: number of draws, one number or (P,).
        num_items: size of the catalogue; None = the number of draws.
        sample_weight: (P,) weight of each positive, None = 1.
        shape: what the R rows are for the caller: (), (B,) or (B, L).
        drawn: whether the columns were drawn; if not they are the whole catalogue.
    """

    logits: Tensor
    positives: Positives
    mask: Tensor | None
    log_prob: Tensor | None
    num_sampled: int | Tensor
    num_items: int | None
    sample_weight: Tensor | None
    shape: torch.Size
    drawn: bool = True

    @classmethod
    def of_pairs(cls, logits: Tensor, first: int, distinct: bool, metadata: BatchMetadata) -> LogitBatch:
        """Return the batch of logits (B, C) in which column ``first + i`` is the positive of row i.

        Args:
            logits: (B, C).
            first: the positive of row 0.
            distinct: whether no column is to be ignored.
            metadata: ids of rows and columns, log q and weights.
        """
        rows = logits.shape[0]
        return cls(
            logits,
            Positives(None, torch.arange(first, first + rows, device=logits.device)),
            None if distinct else metadata.hit_mask(),
            metadata.log_prob,
            rows - 1 if metadata.num_sampled is None else metadata.num_sampled,
            metadata.num_items,
            metadata.sample_weight,
            torch.Size((rows,)),
        )

    @classmethod
    def check(
        cls,
        logits: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        log_prob: Tensor | None,
        ignore_index: int,
        sample_weight: Tensor | None,
        class_dim: int | None,
        num_items: int | None,
    ) -> LogitBatch:
        """Check how the arguments of ``RetrievalLoss.from_logits`` fit, and bring them to one form.

        Raises:
            ValueError: shapes or labels do not fit.
        """
        found = Labels.check(logits, labels, class_dim)
        rows, columns = found.logits.shape
        positives = Positives.of(found.values, columns, ignore_index)
        if mask is not None:
            mask = found.rows_of("mask", mask)
        draws: int | Tensor = columns
        if mask is not None and mask.dim() == 1:  # padding is no item
            padding = mask.sum()
            draws = columns - (padding if logits.device.type != "cpu" else int(padding))
        if log_prob is None:
            num_items = None
        else:
            if num_items is None:
                raise ValueError(
                    "log_prob needs the size of the catalogue that the columns were drawn from: give the "
                    "loss num_items"
                )
            log_prob = found.rows_of("log_prob", log_prob)
            if log_prob.dim() == 2:
                log_prob = positives.of_rows(log_prob)
            own = positives.per_row(rows, mask if mask is not None and mask.dim() == 1 else None)
            draws = draws - (1 if own is None else own)
        dtype = rank_dtype(logits.dtype)
        if sample_weight is not None:
            sample_weight = found.weight_of_rows(sample_weight)
        return cls(
            found.logits,
            positives,
            mask,
            log_prob,
            draws,
            num_items,
            positives.weight(sample_weight, rows, dtype),
            found.shape,
            drawn=log_prob is not None,
        )

    def with_positives_times(self, scale: float) -> LogitBatch:
        """Return the batch with the logits of the positives multiplied by a number; that of 1 is as it is."""
        if scale == 1.0:
            return self
        factor = self.logits.new_full((), scale)  # which no device waits for
        if self.positives.counts is not None:  # the column of one that does not count is a negative's
            factor = torch.where(self.positives.counts, factor, 1.0)
        place = (self._rows(), self.positives.columns)
        return replace(self, logits=self.logits * torch.ones_like(self.logits).index_put(place, factor))

    @property
    def fold(self) -> Fold:
        """How the losses of the positives go back to the caller's shape."""
        return Fold(self.shape, self._rows())

    def nothing(self, reduction: str) -> Tensor:
        """Return the loss where nothing is compared with anything: 0, with gradient 0."""
        zero = self.logits.flatten()[:0].sum(dtype=rank_dtype(self.logits.dtype))
        return zero.expand(self.shape).clone() if reduction == "none" else zero

    def advice(self, num_items: int | None) -> str | None:
        """Return what to tell of columns that are not the loss's catalogue, None if they are.

        Args:
            num_items: size of the catalogue, as the loss has it.
        """
        number = self.num_sampled
        if num_items is None or self.log_prob is not None or not isinstance(number, int):  # on a device only
            return None
        if number == num_items:
            return None
        if number > num_items:
            what = "mask the columns that are no items, with mask (C,) bool, True = ignore"
        else:
            what = "if the columns were drawn, give log_prob; if they are the catalogue, leave num_items out"
        return (
            f"the logits have {number} columns besides masked padding, but num_items is {num_items}: {what}"
        )

    @property
    def catalogue(self) -> int | None:
        """Size of the catalogue as far as it is known, for warnings: all columns, unless they were drawn."""
        return self.num_items if self.drawn else self.logits.shape[1]

    def call_scores(self) -> CallScores:
        """Return what the fused path tells of the scores."""
        mask = self.mask
        return CallScores(
            self.logits.shape[1],
            self.catalogue,
            self.sample_of_differences,
            None if mask is None else lambda: (~mask).sum(-1).max(),
        )

    @torch.no_grad()
    def sample(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return the logits of some positives and of their rows, all columns, to look for mistakes.

        Returns:
            (b,) logits of the positives; (b, C) of their rows; (b, C) bool, which are positives of the row,
            and which are masked by their value; the mask (C,) or (b, C) and (b,) which count, if given.
        """
        some, _ = spread_over(self.positives.number, self.logits.shape[1])
        rows, columns = self._rows()[some], self.positives.columns[some]
        scores = self.logits[rows]
        own = torch.zeros_like(scores, dtype=torch.bool)
        if self.positives.rows is None:
            own.scatter_(1, columns.unsqueeze(1), True)
        else:  # a row may have several, and be there for more than one of them
            distinct, which = torch.unique_consecutive(rows, return_inverse=True)
            found_at = torch.full(self.logits.shape[:1], -1, device=rows.device)
            found_at[distinct] = torch.arange(len(distinct), device=rows.device)
            found_at = found_at[self.positives.rows]
            there = found_at >= 0
            own[found_at[there], self.positives.columns[there]] = True
            own = own[which]
        mask = self.mask if self.mask is None or self.mask.dim() == 1 else self.mask[rows]
        counts = None if self.positives.counts is None else self.positives.counts[some]
        positive = scores.gather(1, columns.unsqueeze(1)).squeeze(1)
        return positive, scores, own, scores < LOWEST_SCORE, mask, counts

    @torch.no_grad()
    def sample_of_differences(self) -> Tensor:
        """Return ``s_j − s₊`` of some positives and negatives spread over all, (b, m), −∞ where ignored."""
        some, spread = spread_over(self.positives.number, self.logits.shape[1])
        rows, columns = self._rows()[some], self.positives.columns[some]
        scores, positive = self.logits[rows][:, spread].float(), self.logits[rows, columns].float()
        ignored = scores < LOWEST_SCORE
        if self.mask is not None:
            ignored = ignored | (self.mask if self.mask.dim() == 1 else self.mask[rows])[..., spread]
        return (scores - positive.unsqueeze(1)).masked_fill(ignored, float("-inf"))

    def _rows(self) -> Tensor:
        """Return the (P,) row of each positive."""
        rows = self.positives.rows
        return torch.arange(self.logits.shape[0], device=self.logits.device) if rows is None else rows

    def scored(self) -> ScoredBatch:
        """Return the positives as rows of their own, for the naive path."""
        positives = self.positives
        own = torch.zeros_like(self.logits, dtype=torch.bool)
        if positives.rows is None:
            own.scatter_(1, positives.columns.unsqueeze(1), True)
        else:
            own[positives.rows, positives.columns] = True
        ignored = positives.of_rows(own if self.mask is None else own | self.mask)
        negatives = positives.of_rows(self.logits)
        if positives.counts is not None:  # whatever a row holds that is ignored: 0 times NaN would be NaN
            negatives = negatives.masked_fill(~positives.counts.unsqueeze(1), 0.0)
        scores = negatives.gather(1, positives.columns.unsqueeze(1)).squeeze(1)
        batch = ScoredBatch.check(scores, negatives, ignored, self.log_prob, self.num_sampled, self.num_items)
        return replace(batch, catalogue=self.catalogue)
