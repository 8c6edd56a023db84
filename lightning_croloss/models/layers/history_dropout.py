"""Dropout of whole events of a history."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.uniform_draws import uniform_draws


def drop_history(history: Tensor, probability: float, training: bool) -> Tensor:
    """Replace each event by padding with ``probability``; a history that would lose all keeps all.

    On data of moderate size this regularises more than the choice of the loss does.

    Args:
        history: (B, L) item ids, 0 = padding.
        probability: probability that an event is dropped.
        training: whether to drop at all.

    Returns:
        (B, L) item ids.
    """
    if not training or probability == 0.0:
        return history
    dropped = uniform_draws(history.shape, history.device) < probability
    kept = history.masked_fill(dropped, 0)
    empty = (kept != 0).sum(1, keepdim=True) == 0
    return torch.where(empty, history, kept)
