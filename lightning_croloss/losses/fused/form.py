"""FusedForm: what the fused path must know of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lightning_croloss.losses.fused.sums import Sums
from lightning_croloss.losses.kernels import Kernel


@dataclass(frozen=True)
class FusedForm:
    """A loss in the form that can be computed in tiles, ``mean(value(log R))``.

    ``log R = log(1 + inner · Σ_j u_j φ(d_j)) + log outer``, for each row; without ``own_term`` not the 1.

    Attributes:
        kernel: φ.
        temperature: τ.
        weigh: from log R (b,), log R by ``lambda_kernel`` (b,) or None, and N, () or (b,), to the value and
            its slope in log R, (b,) both.
        lambda_kernel: ψ, by whose rank the slope is weighted; None = no Lambda method.
        log_inner: () or (B,) log of the inner scale; None = 1.
        log_outer: () or (B,) log of the outer scale; None = 1.
        own_term: whether the 1, the positive's own term, is in the sum. Without it, which needs a kernel
            that is summed by logarithms, log R is about −10³⁰ where nothing counts (see ``FAR_BELOW``).
    """

    kernel: Kernel
    temperature: float
    weigh: Callable[[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor]]
    lambda_kernel: Kernel | None = None
    log_inner: Tensor | None = None
    log_outer: Tensor | None = None
    own_term: bool = True

    def finish(
        self, sums: Sums, other_sums: Sums | None, num_items: Tensor, block: slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Finish a block of rows whose sums are complete.

        Args:
            sums: Σ u φ of each row.
            other_sums: the same by ``lambda_kernel``, if the slope is needed.
            num_items: () or (B,) size of the catalogue N.
            block: the rows.

        Returns:
            (b,) each: the losses, log R, and what Σ u φ′ is to be multiplied by for the gradient.
        """
        inner, outer = _rows_of(self.log_inner, block), _rows_of(self.log_outer, block)
        log_rank, other = sums.log_rank(inner, self.own_term), None
        share = sums.share(inner, log_rank)
        if self.lambda_kernel is not None and other_sums is not None:
            other = other_sums.log_rank(inner, self.own_term)
        if outer is not None:
            log_rank = log_rank + outer
            other = None if other is None else other + outer
        losses, slope = self.weigh(log_rank, other, num_items if num_items.dim() == 0 else num_items[block])
        return losses, log_rank, slope * share


def _rows_of(value: Tensor | None, block: slice) -> Tensor | None:
    """Return the block of a (B,) tensor; a () tensor and None stay as they are."""
    return value if value is None or value.dim() == 0 else value[block]
