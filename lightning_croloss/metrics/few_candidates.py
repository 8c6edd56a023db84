"""FewCandidates: for how many users a cutoff holds every item that may be recommended at all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_croloss.common.host_numbers import numbers_beside


class FewCandidates(Metric):
    """Counts users to whom at most N items may be recommended: their Recall@N says nothing of a model.

    Args:
        ns: the cutoffs N, ascending.

    Attributes:
        users: () int64, the number of users.
        short: (n,) int64, the number of those with at most N candidates, for each cutoff.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    users: Tensor
    short: Tensor

    def __init__(self, ns: Sequence[int]) -> None:
        super().__init__()
        self.ns = tuple(ns)
        self.add_state("users", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("short", torch.zeros(len(self.ns), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, excluded: Tensor, num_items: int) -> None:
        """Count a batch of users.

        Args:
            excluded: (B, E) ids of the items that are left out for each user, 0 = none; repeats count once.
            num_items: size of the catalogue.
        """
        # not in place: see RankMetric.update
        self.users = self.users + len(excluded)
        most = excluded.shape[1]
        if excluded.numel() and excluded.device.type == "cpu":  # elsewhere one would have to wait for it
            most = int((excluded != 0).sum(1).max())
        if not excluded.numel() or num_items - most > self.ns[-1]:
            return  # even if no item came twice
        ids = excluded.sort(1).values
        distinct = (ids[:, 1:] != ids[:, :-1]).sum(1) + (ids[:, 0] != 0)
        candidates = (num_items - distinct).unsqueeze(1)
        self.short = self.short + (candidates <= numbers_beside(self.ns, candidates, torch.long)).sum(0)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the number of users, and that of those with few candidates: (n,), of a single cutoff ()."""
        return self.users, self.short
