"""The fused path: loss and gradients straight from embeddings, never the whole (B, M) matrix of scores.

Rows are taken in blocks, candidates in tiles that fit the cache. The gradient of a score is a product of two
factors, ``∂loss/∂s_ij = c_i · u_j φ′(d_ij)``, and only ``c_i`` needs the finished rank of the row. So a block
computes φ, φ′ and the users' gradients in one sweep over its tiles, keeping φ′, and then, with ``c_i`` known,
the candidates' gradients by one more product: three products in all, as many as any training step needs.
Gradients are computed in the forward pass; the backward pass multiplies them by a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.accidental_hits import Collisions
from lightning_croloss.losses.fused.sweep import Sweep
from lightning_croloss.losses.kernels import Kernel
from lightning_croloss.losses.scored import Draws

#: Number of scores from which on the fused path is faster than the naive one.
FEWEST_SCORES = 2**18


@dataclass(frozen=True)
class LinearForm:
    """What the fused path must know of a loss, ``mean(value(log R))``.

    ``log R = log(1 + inner · Σ_j u_j φ(d_j)) + log outer``, for each row.

    Attributes:
        kernel: φ.
        temperature: τ.
        weigh: from log R (b,), log R by ``lambda_kernel`` (b,) or None, and N, () or (b,), to the value and
            its slope in log R, (b,) both.
        lambda_kernel: ψ, by whose rank the slope is weighed; None = no Lambda method.
        log_inner: () or (B,) log of the inner scale; None = 1.
        log_outer: () or (B,) log of the outer scale; None = 1.
    """

    kernel: Kernel
    temperature: float
    weigh: Callable[[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor]]
    lambda_kernel: Kernel | None = None
    log_inner: Tensor | None = None
    log_outer: Tensor | None = None


@dataclass(frozen=True)
class Tiling:
    """How the score matrix is cut.

    Attributes:
        rows: rows of a block.
        width: candidates of a tile.
        product_dtype: type of the factors of the matrix products; None = that of the ranks. Sums are kept in
            the latter whatever the former.
    """

    rows: int
    width: int
    product_dtype: torch.dtype | None = None

    @classmethod
    def choose(cls, users: Tensor, candidates: Tensor) -> Tiling:
        """Choose for a device: tiles that fit a core's cache, and a block of bounded memory (64 MiB of φ′).

        On a CPU products are in float32 even of bfloat16 vectors or under autocast: few CPUs have a faster
        product, and the ranks gain. Elsewhere they are in the vectors' or autocast's type.
        """
        columns = max(1, candidates.shape[0])
        if users.device.type == "cpu":
            dtype = None
            few, most = (size // columns // 16 * 16 for size in (3 * 2**20, 2**24))
            rows = max(32, min(512, max(few, min(128, most))))
            blocks = -(-max(1, users.shape[0]) // rows)
            rows = max(32, -(-users.shape[0] // blocks))  # of even size
            width = max(512, 2**18 * torch.get_num_threads() // rows)
        else:
            dtype = torch.promote_types(users.dtype, candidates.dtype)
            device = users.device.type
            if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
                dtype = torch.get_autocast_dtype(device)
            rows = max(64, min(1024, 2**27 // columns // 64 * 64))
            width = 2**24 // rows
        return cls(rows, width, dtype)


def fused_loss(
    form: LinearForm,
    draws: Draws,
    users: Tensor,
    positives: Tensor,
    candidates: Tensor,
    *,
    target_ids: Tensor | None = None,
    candidate_ids: Tensor | None = None,
    excluded_ids: Tensor | None = None,
    row_weight: Tensor,
    tiling: Tiling | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the loss and, where an input needs it, its gradients.

    Args:
        form: the loss.
        draws: number of draws and their weights.
        users: (B, D).
        positives: (B, D).
        candidates: (M, D), at least one.
        target_ids: as in ``RetrievalLoss.from_embeddings``.
        candidate_ids: likewise.
        excluded_ids: likewise.
        row_weight: (B,) weight of each row in the sum that is the loss.
        tiling: how to cut; None = chosen for the device.

    Returns:
        The scalar loss, and log R (B,) without gradient.
    """
    tiling = Tiling.choose(users, candidates) if tiling is None else tiling
    collisions = None
    if candidate_ids is not None:
        collisions = Collisions(candidate_ids, target_ids, excluded_ids, tiling.rows, tiling.width)
    work = Work(form, draws, row_weight, collisions, tiling)
    inputs = (users, positives, candidates)
    if torch.is_grad_enabled() and any(entry.requires_grad for entry in inputs):
        loss: Tensor = _Fused.apply(work, *inputs)
        return loss, work.log_ranks
    loss, _ = work.run(*inputs, needs=(False, False, False))
    return loss, work.log_ranks


class _Fused(torch.autograd.Function):
    """Computes the gradients in its forward pass and scales them in its backward pass."""

    @staticmethod
    def forward(ctx: Any, work: Work, users: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
        loss, gradients = work.run(users, positives, candidates, needs=tuple(ctx.needs_input_grad[1:]))
        ctx.save_for_backward(*gradients)
        ctx.dtypes = (users.dtype, positives.dtype, candidates.dtype)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fused loss has no second derivative: make the loss with fused=False, "
                "or call backward without create_graph=True"
            )
        (scale,) = grad_outputs
        # a comparison on another device would wait for it
        as_it_is = scale.device.type == "cpu" and float(scale) == 1.0
        gradients: list[Tensor | None] = [None]
        for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True):
            if gradient is not None and not as_it_is:
                gradient = gradient * scale
            gradients.append(None if gradient is None else gradient.to(dtype))
        return tuple(gradients)


class Work:
    """One computation: its settings, and log R when it has run."""

    def __init__(
        self,
        form: LinearForm,
        draws: Draws,
        row_weight: Tensor,
        collisions: Collisions | None,
        tiling: Tiling,
    ) -> None:
        self.form, self.draws, self.row_weight = form, draws, row_weight
        self.collisions, self.tiling = collisions, tiling
        self.dtype = row_weight.dtype
        self.scale = form.kernel.width(form.temperature)
        self.log_ranks = torch.empty_like(row_weight)

    @torch.no_grad()
    def run(
        self, users: Tensor, positives: Tensor, candidates: Tensor, needs: tuple[bool, ...]
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Return the loss and the gradients of those inputs that need one."""
        product_dtype = self.tiling.product_dtype or self.dtype
        with no_autocast(users.device):
            users, positives = users.to(self.dtype), positives.to(self.dtype)
            scores = (users * positives).sum(-1, keepdim=True) / self.scale
            factors = (users.to(product_dtype), candidates.to(product_dtype))
            needs_rows, needs_candidates = needs[0] or needs[1], needs[2]
            losses = torch.empty_like(self.row_weight)
            pulls = torch.empty_like(scores) if needs_rows else None
            user_grad = torch.zeros_like(users) if needs[0] else None
            candidate_grad = torch.zeros_like(candidates, dtype=self.dtype) if needs_candidates else None
            rows, columns = self.tiling.rows, candidates.shape[0]
            keep = torch.empty(
                min(rows, users.shape[0])
                * (columns if needs_candidates else min(self.tiling.width, columns)),
                dtype=self.dtype,
                device=users.device,
            )
            for number, first in enumerate(range(0, users.shape[0], rows)):
                block = slice(first, min(first + rows, users.shape[0]))
                sweep = Sweep(self, number, block, factors, scores[block], keep, any(needs), needs[0])
                coefficient = self._finish(block, sweep, losses)
                if pulls is not None:
                    pulls[block] = -(coefficient * sweep.slope_sum).unsqueeze(1)
                if user_grad is not None:
                    user_grad[block] = sweep.product * coefficient.unsqueeze(1)
                if candidate_grad is not None:
                    sweep.add_candidate_gradient(coefficient, candidate_grad)
            positive_grad = pulls * users if pulls is not None and needs[1] else None
            if user_grad is not None and pulls is not None:
                user_grad.addcmul_(pulls, positives)
            return (losses * self.row_weight).sum(), (user_grad, positive_grad, candidate_grad)

    def _finish(self, block: slice, sweep: Sweep, losses: Tensor) -> Tensor:
        """Set the block's losses and log R; return what the sweep's slopes are to be multiplied by, (b,)."""
        form = self.form
        inner, outer = rows_of(form.log_inner, block), rows_of(form.log_outer, block)
        log_rank, other = sweep.sums.log_rank(inner), None
        share = sweep.sums.share(inner, log_rank)
        if form.lambda_kernel is not None and sweep.other_sums is not None:
            other = sweep.other_sums.log_rank(inner)
        if outer is not None:
            log_rank = log_rank + outer
            other = None if other is None else other + outer
        num_items = self.draws.num_items
        losses[block], slope = form.weigh(
            log_rank, other, num_items if num_items.dim() == 0 else num_items[block]
        )
        self.log_ranks[block] = log_rank
        return slope * self.row_weight[block] * share / self.scale


def rows_of(value: Tensor | None, block: slice) -> Tensor | None:
    """Return the block of a (B,) tensor; a () tensor and None stay as they are."""
    return value if value is None or value.dim() == 0 else value[block]


def check_vectors(users: Tensor, positives: Tensor, candidates: Tensor) -> None:
    """Raise ``ValueError`` unless the vectors are (B, D), (B, D) and (M, D)."""
    if users.dim() != 2 or positives.shape != users.shape or candidates.shape[1:] != users.shape[1:]:
        raise ValueError(
            "users and positives must be (B, D) and candidates (M, D), got "
            f"{tuple(users.shape)}, {tuple(positives.shape)} and {tuple(candidates.shape)}"
        )


@torch.no_grad()
def sample_of_differences(users: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
    """Return ``s_j − s₊`` of some rows and of candidates spread over all, 2¹⁶ pairs at most."""
    rows = slice(None, None, -(-users.shape[0] // 64))
    columns = slice(None, None, -(-candidates.shape[0] // 1024))
    users, positives, candidates = users[rows].float(), positives[rows].float(), candidates[columns].float()
    with no_autocast(users.device):
        return users @ candidates.T - (users * positives).sum(-1, keepdim=True)
