"""top_k_threshold: the score that an item needs to be among a user's k best, estimated from the draws."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.common.unread_values import is_unread
from lightning_croloss.losses.batches.scored import Draws
from lightning_croloss.losses.batches.shard_sums import ShardSums
from lightning_croloss.losses.kernels import FAR_BELOW

#: What rounding may take away from a sum of weights.
_ROUNDING = 1e-5
#: What it may add to k M / N.
_RATIO_ROUNDING = 1e-7


@torch.no_grad()
def top_k_threshold(scores: Tensor, draws: Draws, k: int, shards: ShardSums | None = None) -> Tensor:
    """Return the k-th best score of the catalogue without the positive, as its row's draws show it.

    M draws out of N items hold ``k M / N`` of the k best, so it is the score at position ``⌈k M / N⌉`` among
    the negatives; drawn with other probabilities, where their weights ``u_j`` add up to ``k M / N``. The
    positive is not among them: it is in the top k exactly if it scores above the k-th best of the others.
    Candidates that are ignored have no position, while M counts their draws. Where fewer are left than
    that, it is the lowest of them.

    Args:
        scores: (B, M) scores of the draws, or how much higher they are than the positive's; those that are
            ignored are ``FAR_BELOW``.
        draws: how they were drawn.
        k: the rank in the catalogue.
        shards: of which scores are those of one process's items; goes with uniform weights only.

    Returns:
        (B,) without gradient; ``FAR_BELOW`` in rows of which nothing counts.
    """
    # float32 would bring k M / N above a whole number that it is
    share = k * draws.num_sampled.double() / draws.num_items.double()
    if draws.known_ratio is not None and not is_unread(scores):  # of more items than float32 can count
        share = torch.full_like(share, k / draws.known_ratio)
    share = share * (1.0 - _RATIO_ROUNDING)
    if shards is not None:
        if draws.log_weight is not None:
            raise ValueError(
                "a top-k threshold over shards goes with a whole catalogue that counts alike: leave "
                "candidate_log_prob out"
            )
        scores = shards.best_and_lowest(scores, int(torch.ceil(share).clamp(1, shards.num_columns).max()))
    columns = scores.shape[1]
    if draws.log_weight is None:
        found = _at(scores, torch.ceil(share).long().clamp(1, columns))
    else:
        order = _descending(scores)
        total = draws.log_weight.exp().expand(scores.shape).gather(1, order).cumsum(1)
        enough = (share * (1.0 - _ROUNDING)).to(total.dtype).expand(total.shape[0]).unsqueeze(1)
        before = torch.searchsorted(total, enough.contiguous())
        found = scores.gather(1, order.gather(1, before.clamp(max=columns - 1))).squeeze(1)
    too_few = found < 0.5 * FAR_BELOW
    if scores.device.type == "cpu" and not is_unread(scores) and not bool(too_few.any()):
        return found
    lowest = scores.masked_fill(scores < 0.5 * FAR_BELOW, float("inf")).amin(1)
    return torch.where(too_few & ~lowest.isposinf(), lowest, found)


def _at(scores: Tensor, position: Tensor) -> Tensor:
    """Return the score at a position, () or (B,), of each row in descending order, (B,)."""
    rows, columns = scores.shape
    if scores.device.type != "cpu" or is_unread(scores):
        columns_of_rows = (position - 1).expand(rows).unsqueeze(1)
        return scores.sort(dim=1, descending=True).values.gather(1, columns_of_rows).squeeze(1)
    # NumPy's partition and sort take a fraction of the time of topk, kthvalue and sort
    ascending = columns - position
    if position.dim() == 0 or bool((position == position[0]).all()):
        index = int(ascending) if position.dim() == 0 else int(ascending[0])
        return torch.from_numpy(np.partition(scores.numpy(), index, axis=1)[:, index].copy())
    ordered = torch.from_numpy(np.sort(scores.numpy(), axis=1))
    return ordered.gather(1, ascending.unsqueeze(1)).squeeze(1)


def _descending(scores: Tensor) -> Tensor:
    """Return which columns have the highest, second highest, … score of each row, (B, M)."""
    if scores.device.type != "cpu" or is_unread(scores):
        return scores.argsort(dim=1, descending=True)
    return torch.from_numpy(np.argsort(scores.numpy(), axis=1)[:, ::-1].copy())
