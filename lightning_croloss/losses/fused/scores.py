"""ScoreComputation: loss and gradient from a matrix of scores, block of rows by block of rows.

The scores are read once and their gradient is written once; what lies between stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.fused.score_plan import RowsOfBlock, ScorePlan
from lightning_croloss.losses.fused.sums import Sums, add_tile
from lightning_croloss.losses.kernels import FAR_BELOW

#: If a mask (C,) ignores less than one column in as many, these are set one by one.
FEW = 16
Gradients = tuple[Tensor | None, Tensor | None]


class ScoreComputation:
    """Loss and gradient of one batch.

    Args:
        plan: what to go by.

    Attributes:
        log_ranks: (P,) log R, once :meth:`run` has returned.
        losses: (P,) the loss of each positive times its weight, likewise.
    """

    def __init__(self, plan: ScorePlan) -> None:
        self.plan = plan
        self.log_ranks = torch.empty_like(plan.row_weight)
        self.losses = torch.empty_like(plan.row_weight)
        self._padding: Tensor | None = None
        if plan.mask is not None and plan.mask.dim() == 1 and plan.mask.device.type == "cpu":
            padding = torch.nonzero(plan.mask).squeeze(1)
            if len(padding) * FEW < len(plan.mask):
                self._padding = padding

    @torch.no_grad()
    def run(self, scores: Tensor, positive_scores: Tensor | None, needs_gradient: bool) -> Gradients:
        """Compute the losses, and return the gradients of their sum.

        Args:
            scores: (R, C) of negatives, and of positives where the plan says which these are.
            positive_scores: (P,), if they are not among ``scores``.
            needs_gradient: whether any gradient is needed.

        Returns:
            The gradient of ``scores``, in their type but for float16, whose range would not do before a loss
            scaler has its turn; and that of ``positive_scores``. None for what is not needed.
        """
        plan, columns = self.plan, scores.shape[1]
        with no_autocast(scores.device):
            positive = self._positive_scores(scores, positive_scores).unsqueeze(1)
            pulls = torch.empty_like(plan.row_weight) if needs_gradient else None
            gradient = None
            if needs_gradient:
                dtype = plan.dtype if scores.dtype == torch.float16 else scores.dtype
                make = torch.zeros if plan.several else torch.empty
                gradient = make(scores.shape, dtype=dtype, device=scores.device)
            blocks = plan.blocks(columns)
            writes_through = gradient is not None and gradient.dtype == plan.dtype and not plan.several
            size = (blocks[0].stop, columns)
            scratch = scores.new_empty(size, dtype=plan.dtype)
            other = scratch if writes_through else scores.new_empty(size, dtype=plan.dtype)
            for block, x, rows in self._differences(scores, positive, blocks, scratch):
                out = other[: block.stop - block.start]
                if gradient is not None and writes_through:
                    out = gradient[block]
                coefficient = self._sum(block, x, out, needs_gradient)
                if gradient is None or pulls is None or coefficient is None:
                    continue
                pulls[block] = self._slopes(block, x, out, coefficient)
                if rows is not None:
                    gradient.index_add_(0, rows, out.to(gradient.dtype))
                elif not writes_through:
                    gradient[block] = out
            if pulls is None or gradient is None or plan.positives is None:
                return gradient, pulls
            self._add_pulls(gradient, pulls.to(gradient.dtype))
            return gradient, None

    def _positive_scores(self, scores: Tensor, given: Tensor | None) -> Tensor:
        own = self.plan.positives
        if own is None:
            assert given is not None
            return given.to(self.plan.dtype)
        if own.rows is None:
            found = scores.gather(1, own.columns.unsqueeze(1)).squeeze(1)
        else:
            found = scores[own.rows, own.columns]
        found = found.to(self.plan.dtype)
        return found if own.counts is None else found.masked_fill(~own.counts, 0.0)

    def _differences(
        self, scores: Tensor, positive: Tensor, blocks: list[slice], scratch: Tensor
    ) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Yield each block, its differences by the width of the kernel, and its rows if not the same."""
        plan, own, columns = self.plan, self.plan.positives, scores.shape[1]
        if plan.several and own is not None and own.rows is not None:
            found = RowsOfBlock.of(own, blocks, columns)
            for block, part in zip(blocks, found, strict=True):
                base = scores.index_select(0, part.rows).to(plan.dtype)
                base.view(-1).index_fill_(0, part.positions, FAR_BELOW)
                self._ignore(base, part.rows)
                x = scratch[: block.stop - block.start]
                torch.index_select(base, 0, part.owner, out=x)
                yield block, self._scaled(x.sub_(positive[block])), own.rows[block]
            return
        for block in blocks:
            x = scratch[: block.stop - block.start]
            self._scaled(torch.sub(scores[block], positive[block], out=x))
            if own is not None:
                x.scatter_(1, own.columns[block].unsqueeze(1), FAR_BELOW)
                if own.counts is not None:  # whatever a row holds that is ignored: 0 times NaN would be NaN
                    x.masked_fill_(~own.counts[block].unsqueeze(1), FAR_BELOW)
            elif plan.form.kernel.sums_logarithms:
                x.clamp_(min=FAR_BELOW)  # a row of −∞ has no softmax, but where a positive's column is finite
            self._ignore(x, block)
            yield block, x, None

    def _ignore(self, scores: Tensor, rows: slice | Tensor) -> None:
        """Set masked columns of some rows far below."""
        mask = self.plan.mask
        if self._padding is not None:
            scores.index_fill_(1, self._padding, FAR_BELOW)
        elif mask is not None:
            scores.masked_fill_(mask if mask.dim() == 1 else mask[rows], FAR_BELOW)

    def _scaled(self, x: Tensor) -> Tensor:
        scale = self.plan.scale  # after the difference, so that ties are 0 exactly: a step counts them
        return x if scale == 1.0 else x.mul_(1.0 / scale)

    def _sum(self, block: slice, x: Tensor, out: Tensor, needs_gradient: bool) -> Tensor | None:
        """Set the block's losses and log R, and ``out`` to φ; return what the slopes are multiplied by."""
        plan, form = self.plan, self.plan.form
        log_weight = plan.draws.log_weight
        log_weight = log_weight if log_weight is None or log_weight.dim() == 1 else log_weight[block]
        other_sums = None
        if needs_gradient and (other := form.lambda_kernel) is not None:
            other_sums = Sums(plan.row_weight[block], other.sums_logarithms)
            ratio = plan.scale / other.width(form.temperature)
            add_tile(other_sums, other, x * ratio, form.temperature, log_weight, out)
        sums = Sums(plan.row_weight[block], form.kernel.sums_logarithms)
        rescaled = add_tile(sums, form.kernel, x, form.temperature, log_weight, out)
        losses, self.log_ranks[block], coefficient = form.finish(
            sums, other_sums, plan.draws.num_items, block
        )
        self.losses[block] = losses * plan.row_weight[block]
        if not needs_gradient:
            return None
        coefficient = coefficient * (plan.row_weight[block] / plan.scale)
        return coefficient if rescaled is None else coefficient * rescaled.now

    def _slopes(self, block: slice, x: Tensor, out: Tensor, coefficient: Tensor) -> Tensor:
        """Turn ``out``, which holds φ, into the gradient of the block; return that of its positives."""
        kernel, log_weight = self.plan.form.kernel, self.plan.draws.log_weight
        kernel.slope_(x, out, self.plan.form.temperature)
        if log_weight is not None and not kernel.sums_logarithms:
            out.mul_((log_weight if log_weight.dim() == 1 else log_weight[block]).exp())
        return out.mul_(coefficient.unsqueeze(1)).sum(1).neg_()

    def _add_pulls(self, gradient: Tensor, pulls: Tensor) -> None:
        own = self.plan.positives
        assert own is not None
        if own.rows is None:
            gradient.scatter_(1, own.columns.unsqueeze(1), pulls.unsqueeze(1))
        else:
            gradient.view(-1).index_add_(0, own.rows * gradient.shape[1] + own.columns, pulls)
