"""The sweeps: how the kernels are started, and how the parts of a sum come together.

No two programs write to one place: each writes its part, and the few parts are added up in their order. The
same inputs give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.triton_grid import on_device, padded_width, parts_of
from lightning_croloss.losses.fused.sums import Sums
from lightning_croloss.losses.fused.triton.choice import parameter_of
from lightning_croloss.losses.fused.triton.compiled.candidates import candidates_kernel
from lightning_croloss.losses.fused.triton.compiled.sweep import sweep_kernel
from lightning_croloss.losses.fused.triton.layout import Cut
from lightning_croloss.losses.fused.triton.plan import TritonPlan
from lightning_croloss.losses.fused.triton.vectors import Vectors


@dataclass(frozen=True)
class Swept:
    """What a sweep over all candidates has added up.

    Attributes:
        sums: Σ u φ of each row.
        other_sums: the same by the kernel of the Lambda method; None = not needed.
        slope_sum: (B,) Σ u φ′, relative to the sums where these are logarithms; None = not needed.
        product: (B, D) Σ u φ′ times the candidates, likewise.
    """

    sums: Sums
    other_sums: Sums | None
    slope_sum: Tensor | None
    product: Tensor | None


def sweep(plan: TritonPlan, vectors: Vectors, weighs: bool, needs_slope: bool, needs_product: bool) -> Swept:
    """Sweep over all candidates.

    Args:
        plan: what to go by.
        vectors: the vectors.
        weighs: whether the sums by the kernel of the Lambda method are needed.
        needs_slope: whether any gradient of users or positives is needed.
        needs_product: whether that of the users is.
    """
    form, cut = plan.form, plan.layout.sweep
    (rows, width), columns = vectors.users.shape, len(vectors.candidates)
    other = form.lambda_kernel if weighs else None
    tiles, blocks = -(-columns // cut.columns), -(-rows // cut.rows)
    parts, tiles_of_part = parts_of(blocks, tiles, plan.layout.programs)

    def room(*shape: int) -> Tensor:
        return torch.empty(parts, rows, *shape, dtype=plan.dtype, device=vectors.users.device)

    sums, other_sums = room(), None if other is None else room()
    slope_sums, products = room() if needs_slope else None, room(width) if needs_product else None
    with on_device(vectors.users.device):
        sweep_kernel[(blocks, parts)](
            vectors.users,
            vectors.candidates,
            vectors.positive_scores,
            **_told(plan, vectors, cut),
            sums=sums,
            other_sums=other_sums,
            slope_sums=slope_sums,
            products=products,
            tiles=tiles,
            tiles_of_part=tiles_of_part,
            other_ratio=1.0 if other is None else plan.scale / other.width(form.temperature),
            other_parameter=0.0 if other is None else parameter_of(other, form.temperature),
            OTHER="" if other is None else other.name,
            OTHER_LOGARITHMS=other is not None and other.sums_logarithms,
        )
    totals, share = _together(sums, form.kernel.sums_logarithms)
    return Swept(
        totals,
        None if other_sums is None or other is None else _together(other_sums, other.sums_logarithms)[0],
        None if slope_sums is None else (slope_sums if share is None else slope_sums * share).sum(0),
        None if products is None else _weighted_sum(products, share),
    )


def candidates_gradient(
    plan: TritonPlan, vectors: Vectors, coefficient: Tensor, log_scale: Tensor | None, out: Tensor
) -> None:
    """Sweep over all rows for the gradient of each candidate.

    Args:
        plan: what to go by.
        vectors: the vectors.
        coefficient: (B,) what the φ′ of each row is multiplied by, relative to its scale.
        log_scale: (B,) that scale, of a kernel that is summed by logarithms.
        out: (M, D) to be filled, of any type.
    """
    cut = plan.layout.gradient
    (rows, width), columns = vectors.users.shape, len(vectors.candidates)
    tiles, blocks = -(-columns // cut.columns), -(-rows // cut.rows)
    parts, blocks_of_part = parts_of(tiles, blocks, plan.layout.programs)
    place = out.unsqueeze(0)
    if parts > 1:
        place = torch.empty(parts, columns, width, dtype=plan.dtype, device=out.device)
    unit = vectors.inverse_lengths is not None
    with on_device(out.device):
        candidates_kernel[(tiles, parts)](
            vectors.users,
            vectors.candidates,
            vectors.positive_scores,
            coefficient,
            log_scale,
            **_told(plan, vectors, cut),
            gradients=place,
            tiles=tiles,
            blocks=blocks,
            blocks_of_part=blocks_of_part,
            FINISHES=unit and parts == 1,
        )
    if parts == 1:
        return
    whole = place.sum(0)
    if vectors.inverse_lengths is not None:
        inverse = vectors.inverse_lengths.unsqueeze(1)
        directions = vectors.candidates.to(plan.dtype) * inverse
        along = torch.linalg.vecdot(whole, directions).unsqueeze(1)
        whole = whole.addcmul_(directions, along, value=-1.0).mul_(inverse)
    out.copy_(whole)


def _told(plan: TritonPlan, vectors: Vectors, cut: Cut) -> dict[str, Any]:
    """Return the arguments that both kernels have."""
    form, ignored, log_weight = plan.form, plan.ignored, plan.draws.log_weight
    listed = ignored.by_tile(cut)
    width = vectors.users.shape[1]
    return {
        "inverse_lengths": vectors.inverse_lengths,
        "log_weights": None if log_weight is None else log_weight.contiguous(),
        "target_ids": ignored.target_ids,
        "candidate_ids": ignored.candidate_ids,
        "mask": ignored.mask,
        "listed": None if listed is None else listed.places,
        "listed_starts": None if listed is None else listed.starts,
        "rows": len(vectors.users),
        "columns": len(vectors.candidates),
        "candidate_stride": vectors.candidates.stride(0),
        "weight_stride": 0 if log_weight is None or log_weight.dim() == 1 else log_weight.shape[1],
        "inverse_scale": 1.0 / plan.scale,
        "parameter": parameter_of(form.kernel, form.temperature),
        "KERNEL": form.kernel.name,
        "LOGARITHMS": form.kernel.sums_logarithms,
        "PRECISION": _precision(vectors.users.device, cut),
        "ROWS": cut.rows,
        "COLUMNS": cut.columns,
        "WIDTH": width,
        "PADDED": padded_width(width),
        "num_warps": cut.warps,
        "num_stages": cut.stages,
        "enable_fp_fusion": True,
    }


def _precision(device: torch.device, cut: Cut) -> str:
    """Return how exact products of float32 are; those of bfloat16 are exact anyway."""
    if device.type == "cpu":
        return "interpreted"
    return cut.precision if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _together(parts: Tensor, logarithms: bool) -> tuple[Sums, Tensor | None]:
    """Return the sums of all parts (P, B) and, of logarithms, the share (P, B) of each part; else None."""
    sums = Sums(parts[0], logarithms)
    sums.empty = False
    if not logarithms:
        sums.total = parts.sum(0)
        return sums, None
    sums.log_scale = torch.logsumexp(parts, 0)
    return sums, torch.exp(parts - sums.log_scale)


def _weighted_sum(parts: Tensor, share: Tensor | None) -> Tensor:
    """Return the sum (B, D) of parts (P, B, D), which may change, times their shares (P, B)."""
    return (parts if share is None else parts.mul_(share.unsqueeze(-1))).sum(0)
