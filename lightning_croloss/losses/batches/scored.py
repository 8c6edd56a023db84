"""ScoredBatch: what a loss sees of a batch once its arguments are checked and in one form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.losses.batches.shard_sums import ShardSums

#: Bound on log u: padding may have q = 0, and an infinite u times its zero gradient would be NaN.
LARGEST_LOG_WEIGHT = 60.0


@dataclass(frozen=True)
class Draws:
    """How the negatives were drawn.

    Attributes:
        log_weight: (M,) or (B, M) log u_j, with ``u_j = 1 / (N q_j)``; None = 1 (uniform sampling).
        num_sampled: () or (B,) number of draws, at least 1.
        num_items: () or (B,) size of the catalogue N: the loss's, or the number of draws.
        has_draws: () or (B,) bool; a row without draws has loss 0.
        known_ratio: r = N / M, where the host knows it.
    """

    log_weight: Tensor | None
    num_sampled: Tensor
    num_items: Tensor
    has_draws: Tensor
    known_ratio: float | None = None

    @property
    def log_scale(self) -> Tensor:
        """() or (B,) log r, with r = N / M: how much of the catalogue a draw stands for."""
        return torch.log(self.num_items / self.num_sampled)

    @classmethod
    def check(
        cls,
        shape: torch.Size,
        dtype: torch.dtype,
        device: torch.device,
        log_prob: Tensor | None,
        num_sampled: int | Tensor | None,
        num_items: int | None,
    ) -> Draws:
        """Check what ``RetrievalLoss.forward`` is told of the draws.

        Args:
            shape: (B, M).
            dtype: type of the ranks.
            device: device of the scores.
            log_prob: (M,) or (B, M).
            num_sampled: number of draws, a number or (B,); None = M.
            num_items: size of the catalogue, None = the number of draws.

        Raises:
            ValueError: shapes do not fit, or ``log_prob`` comes without a catalogue size.
        """
        check_shape("negative_log_prob", log_prob, shape)
        count, ratio = 0.0, None
        if isinstance(num_sampled, Tensor):
            draws = num_sampled.to(device, dtype)
        else:
            count = float(shape[1] if num_sampled is None else num_sampled)
            draws = torch.full((), count, dtype=dtype, device=device)
            ratio = (count if num_items is None else num_items) / max(count, 1.0)
        if draws.shape not in (torch.Size(), shape[:1]):
            raise ValueError(f"num_sampled must be a number or (B,), got {tuple(draws.shape)}")
        at_least_one = draws if ratio is not None and count >= 1.0 else draws.clamp(min=1.0)
        catalogue = at_least_one if num_items is None else torch.full_like(draws, float(num_items))
        log_weight = None
        if log_prob is not None:
            if num_items is None:
                raise ValueError("negative_log_prob needs the catalogue size: give the loss num_items")
            log_weight = -(log_prob.to(dtype) + math.log(num_items))
            log_weight = log_weight.clamp(max=LARGEST_LOG_WEIGHT)
        return cls(log_weight, at_least_one, catalogue, draws > 0, ratio)


@dataclass(frozen=True)
class ScoredBatch:
    """Scores of positives and negatives, in float32 or float64.

    Attributes:
        positive_scores: (B,).
        negative_scores: (B, M).
        negative_mask: (M,) or (B, M) bool, True = ignore; None = nothing is ignored.
        draws: how the negatives were drawn.
        catalogue: size of the catalogue as far as it is known, for warnings.
        user_ids: (B,) id of each row's user, where it is given.
        shards: adds up over the processes, if these scores are those of one process's items; None = they are
            all.
    """

    positive_scores: Tensor
    negative_scores: Tensor
    negative_mask: Tensor | None
    draws: Draws
    catalogue: int | None = None
    user_ids: Tensor | None = None
    shards: ShardSums | None = None

    @classmethod
    def check(
        cls,
        positive_scores: Tensor,
        negative_scores: Tensor,
        negative_mask: Tensor | None,
        negative_log_prob: Tensor | None,
        num_sampled: int | Tensor | None,
        num_items: int | None,
    ) -> ScoredBatch:
        """Check the arguments of ``RetrievalLoss.forward`` and bring them to one form.

        Raises:
            ValueError: shapes do not fit, or ``negative_log_prob`` comes without a catalogue size.
        """
        if positive_scores.dim() != 1 or negative_scores.dim() != 2:
            raise ValueError(
                "positive_scores must be (B,) and negative_scores (B, M), got "
                f"{tuple(positive_scores.shape)} and {tuple(negative_scores.shape)}"
            )
        if positive_scores.shape[0] != negative_scores.shape[0]:
            raise ValueError(
                f"positive_scores has {positive_scores.shape[0]} rows, "
                f"negative_scores {negative_scores.shape[0]}"
            )
        check_shape("negative_mask", negative_mask, negative_scores.shape)
        dtype = rank_dtype(positive_scores.dtype, negative_scores.dtype)
        draws = Draws.check(
            negative_scores.shape, dtype, positive_scores.device, negative_log_prob, num_sampled, num_items
        )
        return cls(positive_scores.to(dtype), negative_scores.to(dtype), negative_mask, draws, num_items)

    @property
    def difference(self) -> Tensor:
        """(B, M) how much more each negative scores than its row's positive."""
        return self.negative_scores - self.positive_scores.unsqueeze(1)

    def sum_of_draws(self, terms: Tensor) -> Tensor:
        """Return ``Σ_j u_j terms_j`` over the draws of each row that are not ignored, (B,).

        Args:
            terms: (B, M) of each draw.
        """
        if self.draws.log_weight is not None:
            terms = terms * self.draws.log_weight.exp()
        if self.negative_mask is not None:
            terms = terms.masked_fill(self.negative_mask, 0.0)
        return self.sum(terms)

    def sum(self, terms: Tensor) -> Tensor:
        """Return the sum (B,) of terms (B, M) over all negatives, those of other processes too."""
        total = terms.sum(1)
        return total if self.shards is None else self.shards.sum(total)

    def largest(self, terms: Tensor) -> Tensor:
        """Return the largest (B,) of terms (B, M) of all negatives, without gradient."""
        largest = terms.detach().amax(1)
        return largest if self.shards is None else self.shards.largest(largest)


def rank_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """Return the type that ranks are computed in, float32 at least: bfloat16 cannot count beyond 256."""
    result = torch.float32
    for dtype in dtypes:
        result = torch.promote_types(result, dtype)
    return result


def check_shape(name: str, value: Tensor | None, shape: torch.Size) -> None:
    """Raise ``ValueError`` unless ``value`` is None, (M,) or (B, M), ``shape`` being (B, M)."""
    if value is not None and value.shape not in (shape, shape[1:]):
        raise ValueError(
            f"{name} must be (M,) or (B, M) like negative_scores {tuple(shape)}, got {tuple(value.shape)}"
        )
