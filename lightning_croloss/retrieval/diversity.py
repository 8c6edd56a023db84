"""Controllable diversity: trade the scores of the chosen items against how many categories they come from."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from croloss_serving.common.list_length import check_n
from lightning_croloss.retrieval.ids import check_ids, check_padding_id, returned_ids


def diverse_items(
    ids: Tensor,
    scores: Tensor,
    categories: Tensor,
    n: int,
    diversity: float,
    *,
    padding_id: int | None = 0,
) -> tuple[Tensor, Tensor]:
    """Choose n of each user's candidates by score and by the categories of those chosen before.

    The controllable retrieval of ComiRec (Cen et al., KDD 2020): greedily maximise ``Q(u, S) = Σ f(u, i) +
    λ Σ 1[CATE(i) ≠ CATE(j)]``, the first sum over the items i of S, the second over its pairs, each counted
    once. So an item's value is its score, plus λ for every item already chosen from another category.
    Items of several categories differ if they share none; items without any form one category.

    Args:
        ids: (B, C) item ids of the candidates, best first, 0 = no candidate.
        scores: (B, C) their scores.
        categories: (num_items + 1, W) category ids of each item, 0 = no more; row 0 belongs to no item. With
            another ``padding_id`` than 0 (num_items, W), row i being item i.
        n: how many items to choose, 1 … C.
        diversity: λ, at least 0, in units of the score; with 0 the n best candidates are chosen.
        padding_id: as :func:`top_items` was given it, which fills up the ids likewise.

    Returns:
        (B, n) ids and (B, n) scores in the order of choice; of equal values the better candidate comes first.
        Where a user has fewer than n candidates, the row ends in ids 0 (or ``padding_id``, and -1 if that is
        None) with scores -inf. A score of NaN ranks last and is returned as the lowest finite number.

    Raises:
        ValueError: a shape does not fit, an id has no category row, or n or diversity are out of range.
        TypeError: if ids, categories or n are not integers, or scores not floating-point numbers.
    """
    _check_tensors(ids, scores, categories)
    check_n(n, ids.shape[1], "candidates")
    check_diversity(diversity)
    num_items = len(categories) - (padding_id == 0)
    check_padding_id(padding_id, num_items)
    ids = check_ids("ids", ids, len(ids), num_items, padding_id, fill=True)
    if padding_id != 0:
        categories = torch.nn.functional.pad(categories, (0, 0, 1, 0))

    # an item of fewer categories than W repeats one, so that 0 stands for items without any
    filled = torch.where(categories == 0, categories.amax(1, keepdim=True), categories)[ids].flatten(1)
    filled, most = _numbered(filled, categories)  # (B, C · W)
    of_last = torch.zeros(len(ids), most + 1, dtype=torch.bool, device=ids.device)
    rows = torch.arange(len(ids), device=ids.device)
    scores = scores.masked_fill(
        scores.isnan(), torch.finfo(scores.dtype).min
    )  # last, as of the whole catalogue
    # wider than the scores, whose range may not hold λ; -inf: not, or no longer, a candidate
    value = scores.to(torch.promote_types(scores.dtype, torch.float32)).masked_fill(ids == 0, -torch.inf)
    step = min(float(diversity), torch.finfo(value.dtype).max)
    of_candidate = filled.view(*ids.shape, -1)
    chosen = torch.empty(len(ids), n, dtype=torch.int64, device=ids.device)
    found = torch.empty_like(chosen, dtype=torch.bool)
    for position in range(n):
        best = value.argmax(1)  # the first of equal ones
        chosen[:, position], found[:, position] = best, value[rows, best] > -torch.inf
        value[rows, best] = -torch.inf
        of_last.zero_().scatter_(1, of_candidate[rows, best], True)
        shared = of_last.gather(1, filled).view_as(of_candidate).any(2)
        value = value + value.new_full((), step).masked_fill(shared, 0.0)
    return (
        returned_ids(ids.gather(1, chosen).masked_fill(~found, 0), padding_id),
        scores.gather(1, chosen).masked_fill(~found, -torch.inf),
    )


def _check_tensors(ids: object, scores: object, categories: object) -> None:
    for name, value in (("ids", ids), ("scores", scores), ("categories", categories)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    assert isinstance(ids, Tensor)
    assert isinstance(scores, Tensor)
    assert isinstance(categories, Tensor)
    if ids.ndim != 2 or ids.shape != scores.shape:
        raise ValueError(
            f"ids and scores must both have shape (B, C), got {tuple(ids.shape)} and {tuple(scores.shape)}"
        )
    if not scores.is_floating_point():
        raise TypeError(f"scores must be floating-point numbers, got {scores.dtype}: give scores.float()")
    if categories.ndim != 2 or categories.shape[1] < 1:
        raise ValueError(f"categories must have shape (num_items + 1, W), got {tuple(categories.shape)}")
    if categories.is_floating_point() or categories.is_complex() or categories.dtype == torch.bool:
        raise TypeError(f"categories must hold integer ids, got {categories.dtype}: give categories.long()")


def _numbered(filled: Tensor, categories: Tensor) -> tuple[Tensor, int]:
    """Return the categories (B, X) of candidates as small numbers, and the largest.

    Numbers are equal in a row where the categories are.

    Raises:
        ValueError: one is negative.
    """
    if not categories.numel() or not filled.shape[1]:
        return filled.long(), 0
    least, most = (int(bound) for bound in torch.aminmax(categories))
    if least < 0:
        raise ValueError(f"categories must hold ids of at least 0, 0 = no more, got {least}")
    if most < filled.shape[1]:
        return filled.long(), most
    # ids may be hashes: a place among those of the row is a number
    return torch.searchsorted(filled.sort(1).values, filled), filled.shape[1] - 1


def check_diversity(diversity: float) -> None:
    """Raise an error if the weight of the diversity is no number, negative or not finite."""
    if isinstance(diversity, bool) or not isinstance(diversity, Real):
        raise TypeError(f"diversity must be a number, got {diversity!r}")
    if not 0.0 <= diversity < math.inf:
        raise ValueError(f"diversity must be a number of at least 0, got {diversity}")
