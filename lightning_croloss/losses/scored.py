"""ScoredBatch: what a loss sees of a batch once its arguments are checked and brought to one form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Bound on log u: padding may have q = 0, and an infinite u times its zero gradient would be no number.
LARGEST_LOG_WEIGHT = 60.0


@dataclass(frozen=True)
class ScoredBatch:
    """Scores of positives and negatives, in float32 or float64.

    Attributes:
        positive_scores: (B,).
        negative_scores: (B, M).
        negative_mask: (M,) or (B, M) bool, True = ignore; None = nothing is ignored.
        log_weight: (M,) or (B, M) log u_j, with ``u_j = 1 / (N q_j)``; None = 1 (uniform sampling).
        num_sampled: () or (B,) number of draws, at least 1.
        num_items: () or (B,) size of the catalogue N: the loss's, or the number of draws.
        has_draws: () or (B,) bool; a row without draws has loss 0.
    """

    positive_scores: Tensor
    negative_scores: Tensor
    negative_mask: Tensor | None
    log_weight: Tensor | None
    num_sampled: Tensor
    num_items: Tensor
    has_draws: Tensor

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
        for name, value in (("negative_mask", negative_mask), ("negative_log_prob", negative_log_prob)):
            if value is not None and value.shape not in (negative_scores.shape, negative_scores.shape[1:]):
                raise ValueError(
                    f"{name} must be (M,) or (B, M) like negative_scores {tuple(negative_scores.shape)}, "
                    f"got {tuple(value.shape)}"
                )
        # ranks need float32 whatever the autocast type: bfloat16 cannot count beyond 256
        dtype = torch.promote_types(positive_scores.dtype, torch.float32)
        if num_sampled is None:
            num_sampled = negative_scores.shape[1]
        if isinstance(num_sampled, Tensor):
            draws = num_sampled.to(positive_scores.device, dtype)
        else:
            draws = torch.full((), float(num_sampled), dtype=dtype, device=positive_scores.device)
        if draws.shape not in (torch.Size(), positive_scores.shape):
            raise ValueError(f"num_sampled must be a number or (B,), got {tuple(draws.shape)}")
        at_least_one = draws.clamp(min=1.0)
        catalogue = at_least_one if num_items is None else torch.full_like(draws, float(num_items))
        log_weight = None
        if negative_log_prob is not None:
            if num_items is None:
                raise ValueError("negative_log_prob needs the catalogue size: give the loss num_items")
            log_weight = -(negative_log_prob.to(dtype) + math.log(num_items))
            log_weight = log_weight.clamp(max=LARGEST_LOG_WEIGHT)
        return cls(
            positive_scores.to(dtype),
            negative_scores.to(dtype),
            negative_mask,
            log_weight,
            at_least_one,
            catalogue,
            draws > 0,
        )

    @property
    def difference(self) -> Tensor:
        """(B, M) how much more each negative scores than its row's positive."""
        return self.negative_scores - self.positive_scores.unsqueeze(1)
