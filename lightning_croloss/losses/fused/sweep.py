"""Sweep: one block of rows, swept over all tiles of candidates."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.products import fast_product
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.sums import Rescaled, Sums, add_tile
from lightning_croloss.losses.kernels import FAR_BELOW


class Sweep:
    """One block of rows over all tiles: Σ u φ, Σ u φ′, the product of φ′ with the candidates; φ′ is kept.

    For kernels that are summed by logarithms everything is relative to ``exp(sums.log_scale)``, and the φ′ of
    a tile to that tile's own scale.

    Args:
        plan: what to go by.
        number: number of the block.
        block: its rows.
        factors: users (B, D) and candidates (M, D), in the type of the products.
        positive_scores: (b, 1) scores of the block's positives, divided by the plan's scale.
        keep: memory for φ′: of the whole block or, where only one tile is needed at a time, of a tile.
        needs_slope: whether any gradient is needed.
        needs_product: whether the users' gradient is needed.

    Attributes:
        sums: Σ u φ of each row.
        other_sums: the same by the kernel of the Lambda method; None = not needed.
        slope_sum: (b,) Σ u φ′.
        product: (b, D) Σ_j u_j φ′(d_j) times candidate j.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        block: slice,
        factors: tuple[Tensor, Tensor],
        positive_scores: Tensor,
        keep: Tensor,
        needs_slope: bool,
        needs_product: bool,
    ) -> None:
        form, width, scale = plan.form, plan.tiling.width, plan.scale
        users, candidates = factors[0][block], factors[1]
        self._users, self._dtype = users, plan.dtype
        rows = users.shape[0]
        self._fast = fast_product(users, rows) if users.dtype == self._dtype else None
        scaled_users = users / scale
        like = positive_scores.squeeze(1)
        self.sums = Sums(like, form.kernel.sums_logarithms)
        self.slope_sum = torch.zeros_like(like)
        self.product = torch.zeros_like(users, dtype=self._dtype)
        self._kept: list[tuple[slice, Tensor, Tensor | None]] = []
        other = form.lambda_kernel if needs_slope else None
        self.other_sums = None if other is None else Sums(like, other.sums_logarithms)
        scratch = torch.empty(rows * min(width, candidates.shape[0]), dtype=self._dtype, device=users.device)
        for tile, first in enumerate(range(0, candidates.shape[0], width)):
            columns = slice(first, min(first + width, candidates.shape[0]))
            items = candidates[columns]
            size = rows * items.shape[0]
            x = scratch[:size].view(rows, -1)
            if self._fast is not None:
                x = self._fast(scaled_users, items)
            elif users.dtype == self._dtype:
                torch.mm(scaled_users, items.T, out=x)
            else:
                x.copy_(torch.mm(users, items.T)).div_(scale)
            x.sub_(positive_scores)
            if plan.hits is not None:
                plan.hits.ignore(x, number, tile, FAR_BELOW)
            log_weight = _part(plan.draws.log_weight, block, columns)
            if self.other_sums is not None and other is not None:
                ratio = scale / other.width(form.temperature)
                add_tile(self.other_sums, other, x * ratio, form.temperature, log_weight, torch.empty_like(x))
            start = 0 if len(keep) < rows * candidates.shape[0] else rows * first
            out = keep[start : start + size].view(rows, -1)
            rescaled = add_tile(self.sums, form.kernel, x, form.temperature, log_weight, out)
            if not needs_slope:
                continue
            form.kernel.slope_(x, out, form.temperature)
            if log_weight is not None and rescaled is None:
                out.mul_(log_weight.exp())
            self._add(out, items, rescaled, needs_product)
            self._kept.append((columns, out, None if rescaled is None else rescaled.tile))

    def _add(self, slope: Tensor, items: Tensor, rescaled: Rescaled | None, needs_product: bool) -> None:
        if rescaled is not None:  # bring what was summed before, and this tile, to the new common scale
            self.slope_sum.mul_(rescaled.before).addcmul_(slope.sum(1), rescaled.now)
            if needs_product:
                product = self._times(slope, items).mul_(rescaled.now.unsqueeze(1))
                self.product.mul_(rescaled.before.unsqueeze(1)).add_(product)
            return
        self.slope_sum += slope.sum(1)
        if needs_product and self._fast is None and items.dtype == self._dtype:
            self.product.addmm_(slope, items)
        elif needs_product:
            self.product.add_(self._times(slope, items))

    def add_candidate_gradient(self, coefficient: Tensor, gradient: Tensor) -> None:
        """Add the block's part to the candidates' gradient (M, D)."""
        weighted = self._users * coefficient.unsqueeze(1)
        for columns, slope, scale in self._kept:
            if scale is not None:
                factor = coefficient * torch.exp(scale - self.sums.log_scale)
                weighted = self._users * factor.unsqueeze(1)
            if self._fast is not None:
                gradient[columns].add_(self._fast(weighted.T, slope.T).T)  # faster than its transpose
            elif self._users.dtype == self._dtype:
                gradient[columns].addmm_(slope.T, weighted)
            else:
                gradient[columns].add_(self._times(slope.T, weighted.to(self._users.dtype)))

    def _times(self, slope: Tensor, other: Tensor) -> Tensor:
        """Multiply in the type of the factors; the sum over tiles is kept in that of the ranks."""
        if self._fast is not None:
            return self._fast(slope, other.T)
        return torch.mm(slope.to(other.dtype), other).to(slope.dtype)


def _part(log_weight: Tensor | None, block: slice, columns: slice) -> Tensor | None:
    if log_weight is None:
        return None
    return log_weight[columns] if log_weight.dim() == 1 else log_weight[block, columns]
