"""TritonComputation: loss and gradients of a whole batch by the kernels in Triton."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.fused.finished_rows import FinishedRows
from lightning_croloss.losses.fused.gradients import Gradients, gradients_of_rows
from lightning_croloss.losses.fused.triton.plan import TritonPlan
from lightning_croloss.losses.fused.triton.sweeps import Swept, candidates_gradient, sweep
from lightning_croloss.losses.fused.triton.vectors import Vectors


class TritonComputation(FinishedRows):
    """Loss and gradients of one batch, as ``Computation`` has them.

    The sweep that adds up φ adds up the users' gradient too, which lacks only a factor of each row then.

    Args:
        plan: what to go by.
    """

    def __init__(self, plan: TritonPlan) -> None:
        super().__init__(plan)
        self._plan = plan
        self._swept: Swept | None = None

    @torch.no_grad()
    def rank(self, users: Tensor, positives: Tensor, candidates: Tensor, needs: Sequence[bool]) -> None:
        """Compute the losses, and no gradient of candidates yet; see ``Computation.rank``."""
        with no_autocast(users.device):
            vectors = self._vectors(users, positives, candidates)
            swept = sweep(self._plan, vectors, any(needs), needs[0] or needs[1], needs[0])
            self._finish(slice(0, len(users)), swept.sums, swept.other_sums)
            self._swept = swept if any(needs) else None

    @torch.no_grad()
    def gradients(
        self, users: Tensor, positives: Tensor, candidates: Tensor, row_grad: Tensor, needs: Sequence[bool]
    ) -> Gradients:
        """Compute the gradients of those inputs that need one, after :meth:`rank`."""
        plan, swept = self._plan, self._swept
        if swept is None:
            raise RuntimeError("gradients were not asked for when the losses were computed")
        with no_autocast(users.device):
            weight = self._coefficient * row_grad
            slope_sum, product = swept.slope_sum, swept.product
            of_rows = gradients_of_rows(
                users.to(plan.dtype),
                positives.to(plan.dtype),
                None if product is None else product * weight.unsqueeze(1),
                None if slope_sum is None else (slope_sum * weight).unsqueeze(1),
                needs,
            )
            candidate_grad = None
            if needs[2]:
                candidate_grad = plan.spare_memory.take(candidates)
                vectors = self._vectors(users, positives, candidates)
                candidates_gradient(plan, vectors, weight, self._log_scale, candidate_grad)
            return *of_rows, candidate_grad

    def _vectors(self, users: Tensor, positives: Tensor, candidates: Tensor) -> Vectors:
        plan = self._plan
        scores = (users.to(plan.dtype) * positives.to(plan.dtype)).sum(-1) / plan.scale
        return Vectors.of(plan, users.to(plan.product_dtype), scores, candidates)
