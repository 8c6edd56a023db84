"""Which candidates are no negatives for a row."""

from __future__ import annotations

import torch
from torch import Tensor


def ignored_candidates(
    candidate_ids: Tensor, target_ids: Tensor | None = None, excluded_ids: Tensor | None = None
) -> Tensor:
    """Return where candidates must be ignored: padding, the row's target, the row's excluded items.

    Args:
        candidate_ids: (M,) shared by the rows, or (B, M); 0 = padding.
        target_ids: (B,) or None.
        excluded_ids: (B, E) padded with 0, or None.

    Returns:
        (B, M) bool, or (M,) if there is nothing that differs between rows. True = ignore.
    """
    ignored = candidate_ids == 0
    if target_ids is not None:
        ignored = ignored | (candidate_ids == target_ids.unsqueeze(-1))
    if excluded_ids is None or excluded_ids.shape[-1] == 0 or candidate_ids.numel() == 0:
        return ignored
    if candidate_ids.dim() == 2:
        return ignored | (candidate_ids.unsqueeze(-1) == excluded_ids.unsqueeze(1)).any(-1)
    # Marking by position costs B × (E + M), where comparing each pair would cost B × E × M.
    distinct, position_of = torch.unique(candidate_ids, return_inverse=True)
    slot = torch.searchsorted(distinct, excluded_ids.contiguous()).clamp(max=distinct.shape[0] - 1)
    found = distinct[slot] == excluded_ids
    marked = torch.zeros(
        excluded_ids.shape[0], distinct.shape[0] + 1, dtype=torch.bool, device=candidate_ids.device
    )
    marked.scatter_(1, slot.masked_fill(~found, distinct.shape[0]), True)
    return ignored | marked[:, position_of]
