"""What scores and their mask show: own positives among the negatives, inverted masks, distances."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Rows that are looked at.
_ROWS = 64
#: Fewest rows, and share of them, from which on a side of a coin is no accident.
_ENOUGH, _MOST = 8, 0.9
#: Share of the rows of which a mistake that is made in all can be seen.
_NEARLY_ALL = 0.95
#: Fewest scores among which the positive's own is no accident.
_SCORES = 16
#: A mask that all rows share should leave more than one in so many.
_FEW_OF = 20
_POLARITY = "True = ignore: pass ~negative_mask if True marks what counts"


@torch.no_grad()
def figures(positive: Tensor, negative: Tensor, mask: Tensor | None) -> Tensor:
    """Return what :func:`judge` goes by.

    Args:
        positive: (B,).
        negative: (B, M).
        mask: (M,) or (B, M) bool, or None.
    """
    rows, columns = negative.shape
    step = -(-rows // _ROWS)
    own, scores = positive[::step].float(), negative[::step].float()
    ignored = torch.zeros_like(scores, dtype=torch.bool)
    if mask is not None:
        ignored = (mask if mask.dim() == 1 else mask[::step]).expand_as(scores)
    kept = ~ignored
    number = kept.sum(1)
    same = (scores == own.unsqueeze(1)) & kept
    ties = same.sum(1)
    # a tie or two are the positive itself; where many scores are alike they say nothing
    itself = (ties > 0) & (2 * ties <= columns) & (ties <= 2 + columns // 100)
    diagonal = torch.zeros_like(itself)
    if rows == columns:
        diagonal = _on_diagonal(own, scores, same, step, torch.finfo(negative.dtype).eps)
        diagonal = diagonal & kept[:, ::step].diagonal()
    share = ignored.float().mean(1)
    # padding is ignored in one run, at an end of the row
    scattered = (ignored[:, 1:] != ignored[:, :-1]).sum(1) > 1
    lowest = scores.masked_fill(ignored, float("inf")).amin(1)
    highest = scores.masked_fill(ignored, float("-inf")).amax(1)
    varies = scores.amax(1) > scores.amin(1)
    blank = (lowest == highest) & (number > 1) & varies
    below = ((scores > own.unsqueeze(1)) & kept).sum(1) * 2 > number
    never_negative = (torch.minimum(lowest, own) >= 0).all() & (highest > 0).any()
    shared = mask is not None and mask.dim() == 1 and columns >= _FEW_OF
    return torch.stack(
        [
            (number >= 0).sum(),
            (varies & (number > 0)).sum(),
            (varies & diagonal).sum(),
            # few or short numbers are alike by accident
            (varies & itself).sum() * (negative.dtype.itemsize >= 4 and scores.numel() >= _SCORES),
            share.mean() == 1.0,
            ((share > 0.5) & scattered).sum(),
            (share.mean() > 1.0 - 1.0 / _FEW_OF) * shared,
            blank.sum(),
            (number > 1).sum(),
            below.sum() * never_negative,
        ]
    ).double()


def judge(found: list[float], warn: Callable[[str, str], None]) -> None:
    """Raise ``ValueError`` if each row's positive is among its negatives; warn of the rest."""
    rows, used, diagonal, itself, all_ignored, mostly, few, blank, comparable, below = found
    if used > 1 and max(diagonal, itself) >= _NEARLY_ALL * used:
        where = "on the diagonal of" if diagonal >= itself else "in"
        inverted = f", and most others are ignored ({_POLARITY})" if mostly > rows / 2 else ""
        message = (
            f"positive_scores are {where} negative_scores too, where they count as negatives of their own "
            f"rows{inverted}"
        )
        raise ValueError(
            f"{message}: for logits and labels call loss.from_logits(logits, labels), for vectors "
            "loss.in_batch(users, items), or ignore them by negative_mask, True = ignore"
        )
    if all_ignored:
        warn("all ignored", f"negative_mask ignores every negative, and the loss is 0: {_POLARITY}")
    elif rows >= _ENOUGH // 4 and mostly > rows / 2:
        warn(
            "inverted mask",
            "negative_mask ignores more than half of the negatives in most rows, and not as padding at an "
            f"end: {_POLARITY}",
        )
    elif few:
        warn("inverted mask", f"negative_mask ignores nearly every negative of all rows: {_POLARITY}")
    elif comparable >= _ENOUGH // 4 and blank > _MOST * comparable:
        warn(
            "inverted mask",
            f"negative_mask leaves scores that are all alike in most rows, as padding's are: {_POLARITY}",
        )
    if rows >= _ENOUGH and below >= _MOST * rows:
        warn(
            "distances",
            "no score is negative, and most negatives score above the positive in most rows: if these are "
            "distances, pass -distances, as a higher score must be a better one; if these are the hardest "
            "negatives, all is well",
        )


def _on_diagonal(own: Tensor, scores: Tensor, same: Tensor, step: int, eps: float) -> Tensor:
    """Return whether each row's own column holds its positive's score, up to rounding, and others do not."""
    rows = torch.arange(own.shape[0], device=own.device)
    there = scores[rows, rows * step]
    close = (there - own).abs() <= 4.0 * eps * scores.abs().amax(1)
    return close & (same.sum(1) * 2 <= scores.shape[1])
