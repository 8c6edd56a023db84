"""What scores and their mask show: own positives among the negatives, inverted masks, distances."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_croloss.losses.checking import chance

#: Rows that are looked at.
_ROWS = 64
#: Fewest rows, and share of them, from which on a side of a coin is no accident.
_ENOUGH, _MOST = 8, 0.9
#: Share of the rows of which a mistake that is made in all can be seen.
_NEARLY_ALL = 0.95
#: Orders of magnitude of the odds against an accident: from the first on a mistake is told, from the second
#: on there is no doubt.
_UNLIKELY, _CERTAIN = 1.0, 3.0
#: A mask that all rows share should leave more than one, and more than one in so many; of so many at least.
_FEW_OF, _MASKED = 20, 8

_POLARITY = "True = ignore: pass ~{} if True marks what counts"


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
    share, scattered, blank, below, varies = _spread(own, scores, ignored, kept)
    used, alike = varies & (number > 0), chance.of_ties(own, scores)
    diagonal = number.new_zeros(())
    if rows == columns:
        eps = torch.finfo(negative.dtype).eps
        diagonal = _on_diagonal(own, scores, kept, used, alike, step, eps)
    few = number.new_zeros(())
    if mask is not None and (mask.dim() == 1 or len(own) > 1):
        few = _leaves_few(number, ignored)
    return torch.stack(
        [
            (number >= 0).sum(),
            diagonal,
            _against_accident(itself, used, number * alike),
            share.mean() == 1.0,
            scattered.sum(),
            few,
            blank.sum(),
            (number > 1).sum(),
            below,
        ]
    ).double()


@torch.no_grad()
def figures_of_logits(
    positive: Tensor, logits: Tensor, own: Tensor, absent: Tensor, mask: Tensor | None, counts: Tensor | None
) -> Tensor:
    """Return the same of logits, among which a row's own positives are no negatives.

    Args:
        positive: (b,) logit of each row's positive.
        logits: (b, C) its row.
        own: (b, C) bool, which are positives of the row.
        absent: (b, C) bool, which are masked by their value.
        mask: (C,) or (b, C) bool, or None.
        counts: (b,) bool, whether the row counts; None = all do.
    """
    counts = torch.ones_like(positive, dtype=torch.bool) if counts is None else counts
    ignored = torch.zeros_like(own) if mask is None else mask.expand_as(own)
    negative = ~(own | absent) & counts.unsqueeze(1)
    kept = negative & ~ignored
    scores = logits.float()
    share, scattered, blank, below, _ = _spread(positive.float(), scores, ignored, kept, negative)
    rows, number = counts.sum(), kept.sum(1)
    left_out = share[negative.any(1)].mean() if logits.device.type == "cpu" else share.mean()
    few = left_out.new_zeros(())
    if mask is not None and mask.dim() == 1:
        few = _leaves_few(number.where(counts, number.max()), ignored)
        hidden = ((ignored & own).sum(1) == own.sum(1)) & counts
        few = torch.where((hidden.sum() >= _MOST * rows) & (mask.float().mean() > 0.5), 2.0, few.float())
    zero = few.new_zeros(())
    return torch.stack(
        [
            rows,
            zero,
            zero,
            left_out == 1.0,
            scattered.sum(),
            few,
            blank.sum(),
            (number > 1).sum(),
            below,
        ]
    ).double()


def _leaves_few(number: Tensor, ignored: Tensor) -> Tensor:
    """Return whether a mask that is the same for all rows leaves nearly nothing, ().

    Args:
        number: (b,) of a row's negatives that are left.
        ignored: (b, M) bool.
    """
    columns = ignored.shape[1]
    same = (ignored == ignored[:1]).all()
    return same & (number <= max(1, (columns - 1) // _FEW_OF)).all() & (columns >= _MASKED)


def _spread(
    own: Tensor, scores: Tensor, ignored: Tensor, kept: Tensor, negative: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what masks and distances are told by.

    Args:
        own: (b,) the positives' scores.
        scores: (b, M).
        ignored: (b, M) bool, where the mask ignores.
        kept: (b, M) bool, the negatives that it leaves.
        negative: (b, M) bool, all negatives; None = all scores.

    Returns:
        (b,) share of the negatives that are ignored; whether more than half are, and not as padding; whether
        those that are left are all alike, as those that are ignored are not; () the number of rows whose
        positive is below most, if no score is negative; (b,) whether scores vary.
    """
    number = kept.sum(1)
    all_of = torch.full_like(number, scores.shape[1]) if negative is None else negative.sum(1)
    share = 1.0 - number / all_of.clamp(min=1)
    share = share.where(all_of > 0, 0.0)
    # padding is ignored in one run, at an end of the row
    runs = (ignored[:, 1:] != ignored[:, :-1]).sum(1)
    lowest = scores.masked_fill(~kept, float("inf")).amin(1)
    highest = scores.masked_fill(~kept, float("-inf")).amax(1)
    if negative is None:
        varies = scores.amax(1) > scores.amin(1)
    else:
        least = scores.masked_fill(~negative, float("inf")).amin(1)
        varies = scores.masked_fill(~negative, float("-inf")).amax(1) > least
    blank = (lowest == highest) & (number > 1) & varies
    below = ((scores > own.unsqueeze(1)) & kept).sum(1) * 2 > number
    never_negative = (torch.minimum(lowest, own) >= 0).all() & (highest > 0).any()
    return share, (share > 0.5) & (runs > 1), blank, below.sum() * never_negative, varies


def judge(found: list[float], warn: Callable[[str, str], None], name: str = "negative_mask") -> None:
    """Raise ``ValueError`` if each row's positive is among its negatives; warn of the rest.

    Args:
        found: the figures.
        warn: gives a warning, once for each key.
        name: the argument that is the mask.
    """
    polarity = _POLARITY.format(name)
    rows, diagonal, itself, all_ignored, mostly, few, blank, comparable, below = found
    if max(diagonal, itself) >= _UNLIKELY:
        where = "on the diagonal of" if diagonal >= itself else "in"
        inverted = f", and most others are ignored ({polarity})" if mostly > rows / 2 else ""
        message = (
            f"positive_scores are {where} negative_scores too, where they count as negatives of their own "
            f"rows{inverted}: for logits and labels call loss.from_logits(logits, labels), for vectors "
            "loss.in_batch(users, items), or ignore them by negative_mask, True = ignore"
        )
        if max(diagonal, itself) >= _CERTAIN:
            raise ValueError(message)
        warn("own positives", f"{message}; if other items score the same by accident, all is well")
    if all_ignored:
        warn("all ignored", f"{name} ignores every negative, and the loss is 0: {polarity}")
    elif rows >= _ENOUGH // 4 and mostly > rows / 2:
        warn(
            "inverted mask",
            f"{name} ignores more than half of the negatives in most rows, and not as padding at an "
            f"end: {polarity}",
        )
    elif few > 1:
        warn("inverted mask", f"{name} ignores the labels' own columns in most rows: {polarity}")
    elif few:
        warn("inverted mask", f"{name} ignores nearly every negative of all rows: {polarity}")
    elif comparable >= _ENOUGH // 2 and blank > _MOST * comparable:
        warn(
            "inverted mask",
            f"{name} leaves scores that are all alike in most rows, as padding's are: {polarity}",
        )
    if rows >= _ENOUGH and below >= _MOST * rows:
        warn(
            "distances",
            "no score is negative, and most negatives score above the positive in most rows: if these are "
            "distances, pass -distances, as a higher score must be a better one; if these are the hardest "
            "negatives, all is well",
        )


def _on_diagonal(
    own: Tensor, scores: Tensor, kept: Tensor, used: Tensor, alike: Tensor, step: int, eps: float
) -> Tensor:
    """Return how surely each row's own column holds its positive's score, up to rounding, ()."""
    rows = torch.arange(own.shape[0], device=own.device)
    close = (scores - own.unsqueeze(1)).abs() <= 4.0 * eps * scores.abs().amax(1, keepdim=True)
    there = close[rows, rows * step]
    others = close.sum(1) - there.long()
    rate = torch.maximum(alike, others.sum() / max(1, others.shape[0] * (scores.shape[1] - 1)))
    there = there & kept[rows, rows * step] & (2 * others < scores.shape[1])
    return _against_accident(there, used, rate.expand(len(own)))


def _against_accident(found: Tensor, used: Tensor, chance: Tensor) -> Tensor:
    """Return the orders of magnitude of the odds that what nearly all rows show is no accident, ().

    Args:
        found: (b,) bool, the rows that show it.
        used: (b,) bool, the rows that could.
        chance: (b,) how likely each shows it by accident.
    """
    found = found & used
    odds = chance.clamp(min=1e-30, max=1.0).log10().masked_fill(~found, 0.0).sum().neg()
    return odds * ((found.sum() >= _NEARLY_ALL * used.sum()) & (used.sum() > 1))
