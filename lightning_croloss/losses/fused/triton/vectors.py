"""Vectors: what both sweeps read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.common.unit_length import least_length
from lightning_croloss.losses.fused.triton.plan import TritonPlan


@dataclass(frozen=True)
class Vectors:
    """What both sweeps read.

    Attributes:
        users: (B, D), contiguous, in the type of the products.
        positive_scores: (B,) scores of the positives, divided by the plan's scale.
        candidates: (M, D) as they are given, each of consecutive numbers.
        inverse_lengths: (M,) what the candidates are multiplied by; None = 1.
    """

    users: Tensor
    positive_scores: Tensor
    candidates: Tensor
    inverse_lengths: Tensor | None

    @classmethod
    def of(cls, plan: TritonPlan, users: Tensor, positive_scores: Tensor, candidates: Tensor) -> Vectors:
        """Return them for a plan."""
        candidates = candidates if candidates.stride(1) == 1 else candidates.contiguous()
        inverse = None
        if plan.unit_candidates:
            inverse = torch.linalg.vector_norm(candidates, dim=1, dtype=plan.dtype)
            inverse = inverse.clamp_(min=least_length(candidates.dtype)).reciprocal_()
        return cls(users.contiguous(), positive_scores.reshape(-1), candidates, inverse)
