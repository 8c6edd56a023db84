"""Intervals of a mean over users, by drawing the users again and again."""

from __future__ import annotations

import torch
from torch import Tensor

#: Draws, their seed, and the share of them that an interval holds.
DRAWS, SEED, SHARE = 1_000, 0, 0.95
#: Numbers that are drawn at a time.
AT_ONCE = 2**22


def bootstrap(values: Tensor) -> tuple[float, float, float]:
    """Return the mean of values (U,), one a user, and the ends of its interval, which holds 95 %.

    Raises:
        ValueError: there is no user.
    """
    if not len(values):
        raise ValueError("values is empty: there is no user to draw")
    generator = torch.Generator().manual_seed(SEED)
    number = max(1, AT_ONCE // len(values))
    means = [
        values.double()[
            torch.randint(len(values), (min(number, DRAWS - done), len(values)), generator=generator)
        ].mean(1)
        for done in range(0, DRAWS, number)
    ]
    ends = torch.cat(means).quantile(torch.tensor([(1 - SHARE) / 2, (1 + SHARE) / 2], dtype=torch.float64))
    return float(values.double().mean()), float(ends[0]), float(ends[1])


__all__ = ["bootstrap"]
