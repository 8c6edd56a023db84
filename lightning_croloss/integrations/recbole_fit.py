"""Whether a RecBole model scores by the vectors that a loss needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_croloss.losses.fused.plan import factor_dtype


def unfit(model: str) -> ValueError:
    """Return the error of a model whose scores are not those of vectors."""
    return ValueError(
        f"{model} does not score by dot products of what its forward returns and of item_embedding: leave "
        "out in_batch and cosine, with loss_type: CE, or take another model"
    )


def agree(users: Any, items: Any, ids: Tensor, scores: Tensor) -> bool:
    """Return whether scores are dot products of users and items, but for what their types round.

    Args:
        users: (B, D); if it is anything else, they are not.
        items: (C, D), likewise.
        ids: (B,) the targets.
        scores: logits (B, C), or those of the targets (B,).
    """
    shape = (len(ids), *getattr(items, "shape", ())[1:])
    if len(shape) != 2 or getattr(users, "shape", ()) != shape or len(scores) != len(ids):
        return False
    given = scores.gather(1, ids[:, None])[:, 0] if scores.dim() == 2 else scores
    # a score may be far smaller than its terms, whose rounding it has; that of autocast is in no type here
    terms = users.float() * items[ids].float()
    digits = [torch.finfo(of) for of in (users.dtype, items.dtype, scores.dtype, factor_dtype(users, items))]
    allowed = terms.abs().sum(-1) * max(2e-3, *(2 * of.eps for of in digits)) + max(of.tiny for of in digits)
    return bool(((terms.sum(-1) - given).abs() <= allowed).all())
