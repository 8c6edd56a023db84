"""Rows of similar width in the same step, so that little of a batch is padding."""

from __future__ import annotations

import torch
from torch import Tensor

#: Steps of an epoch among which rows are exchanged at most; within them they are sorted by width.
MOST_STEPS = 50
#: An epoch has so many of these windows at least, so that who meets whom in a step stays open.
FEWEST_WINDOWS = 4


def grouped_by_width(
    order: Tensor, widths: Tensor, rows_of_a_step: int, generator: torch.Generator
) -> Tensor:
    """Return the rows of a shuffled epoch in another order, rows of similar width in the same step.

    Large windows of the order are sorted by width, rows of the same width staying in their random order, and
    are cut into steps; then the steps of all windows are shuffled. The last step of the epoch, if it is
    smaller than the others, holds the last rows of the order as they are.

    Args:
        order: (rows,) the rows of all processes in a random order.
        widths: (rows,) the width of each row, by its number.
        rows_of_a_step: number of rows that all processes together take in a step.
        generator: for the order of the steps.

    Returns:
        (rows,) the same rows.
    """
    steps = len(order) // rows_of_a_step
    if steps < 2:
        return order
    window = max(1, min(MOST_STEPS, steps // FEWEST_WINDOWS)) * rows_of_a_step
    whole = order[: steps * rows_of_a_step]
    windows = torch.arange(len(whole)) // window
    found = widths[whole]
    by_width = torch.argsort(windows * (int(found.max()) + 1) + found, stable=True)
    in_steps = whole[by_width].reshape(steps, rows_of_a_step)[torch.randperm(steps, generator=generator)]
    return torch.cat([in_steps.flatten(), order[len(whole) :]])
