"""Whether the rows' own positives count as their negatives, told from equal vectors."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from lightning_croloss.common.host_numbers import numbers_beside

#: Rows that are looked at.
_ROWS = 64
#: Coordinates that two vectors are compared by; they are equal in these if they are equal.
_COORDINATES = 8
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def figures(
    positives: Tensor, candidates: Tensor, target_ids: Tensor | None, candidate_ids: Tensor | None
) -> Tensor:
    """Return what :func:`judge` goes by.

    Args:
        positives: (B, D).
        candidates: (M, D) or (B, M, D).
        target_ids: (B,) or None, 0 = padding.
        candidate_ids: (M,) or (B, M) or None, 0 = padding.

    Returns:
        Number of rows looked at, of those whose positive counts as a negative, of different vectors among
        them, and of different ids.
    """
    some = slice(None, None, -(-positives.shape[0] // _ROWS))
    dtype = torch.promote_types(positives.dtype, candidates.dtype)
    positives = positives[some].to(dtype)
    candidates = (candidates if candidates.dim() == 2 else candidates[some]).to(dtype)
    own, others = _codes(positives), _codes(candidates)
    same = own.unsqueeze(1) == others  # (b, M)
    counts = torch.ones_like(own, dtype=torch.bool)
    different = _different(own, counts)
    different_ids = different
    if candidate_ids is not None:
        ids = candidate_ids if candidate_ids.dim() == 1 else candidate_ids[some]
        same = same & (ids != 0)
        if target_ids is not None:
            targets = target_ids[some]
            counts = targets != 0
            by_id = ids == targets.unsqueeze(1)
            # a row's own vector under its own id: the numbering is the same, and others share the vector
            told_apart = (same & by_id).any(1)
            same = same & ~by_id & ~told_apart.unsqueeze(1)
            different, different_ids = _different(own, counts), _different(targets, counts)
    found = same.any(1) & _equal_to_first(positives, candidates, same) & counts
    return torch.stack([counts.sum(), found.sum(), different, different_ids]).double()


def judge(found: list[float], with_ids: bool) -> None:
    """Raise ``ValueError`` if each row's positive counts as its negative."""
    rows, wrong, vectors, ids = found
    # where items share vectors, equal vectors do not tell the item
    fewest = 4.0 if with_ids else 2.0
    if wrong < rows or rows < 2 or vectors < max(fewest, min(8.0, rows / 2)) or vectors < 0.9 * ids:
        return
    message = "candidates hold the positive of each row, which would count as the row's own negative"
    if with_ids:
        raise ValueError(
            f"{message}: candidate_ids has other ids for these vectors than target_ids; give both the same "
            "numbering"
        )
    refuse_without_ids(message)


def refuse_without_ids(message: str) -> NoReturn:
    """Raise the error of positives among the candidates when there are no ids."""
    raise ValueError(
        f"{message}: if the items of the other rows are the negatives call loss.in_batch(users, items), else "
        "give target_ids and candidate_ids"
    )


def _codes(vectors: Tensor) -> Tensor:
    """Return a number for each vector (…, D), equal for equal vectors."""
    step = max(1, vectors.shape[-1] // _COORDINATES)
    part = vectors[..., ::step].contiguous() + 0.0  # of zeros there are two, −0 and 0
    whole = part.view(_INTEGERS[part.element_size()]).long()
    generator = torch.Generator("cpu").manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (whole.shape[-1],), generator=generator, device="cpu")
    return (whole * numbers_beside(factors.tolist(), whole)).sum(-1)


def _equal_to_first(positives: Tensor, candidates: Tensor, same: Tensor) -> Tensor:
    """Return (b,) whether a row's positive equals the first candidate of its code in every coordinate.

    Vectors of few values, as binary codes have, are often equal in as few coordinates as are looked at.
    """
    first = same.byte().argmax(1)
    rows = torch.arange(len(first), device=first.device)
    chosen = candidates[first] if candidates.dim() == 2 else candidates[rows, first]
    return (positives == chosen).all(-1)


def _different(values: Tensor, counts: Tensor) -> Tensor:
    """Return how many different values (b,) there are among those that count."""
    same = (values.unsqueeze(1) == values) & counts
    return (~same.tril(-1).any(1) & counts).sum()
