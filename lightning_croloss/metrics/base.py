"""RankMetric: what the metrics of ranked targets share."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_croloss.configurable import Configurable

# Per-user values lie in [0, 1] and are summed as integers in this unit. Integer sums do not depend on their
# order, so the result is the same to the last bit for every batch size and number of processes; and int64
# exists on devices without float64 (MPS) and is left alone by .half(). The rounding is below 1.2e-10 a user,
# and the sum has room for 2^31 users.
_UNITS = 2**32


class RankMetric(Configurable, Metric):
    """Mean over users of a value in [0, 1] at several cutoffs N, from the ranks of the user's targets.

    Ranks come from :func:`lightning_croloss.retrieval.target_ranks`. The states are sums, therefore exact
    under DDP when each user is seen by one process, however unevenly users divide. A user without any target
    does not count; without any user the value is 0 (and torchmetrics warns, if ``update`` never ran).

    Subclasses give :attr:`metric_name` and :meth:`user_values`.

    Args:
        ns: the cutoffs N, distinct positive integers; kept in ascending order.
        **kwargs: passed to ``torchmetrics.Metric``.

    Attributes:
        ns: the cutoffs, ascending.
        total: (n,) int64, the sum of the users' values at each cutoff, in units of 2^-32.
        count: () int64, the number of users.

    Raises:
        ValueError: if ``ns`` is empty or holds a number below 1 or the same one twice.
        TypeError: if ``ns`` is not a sequence of integers.
    """

    metric_name: ClassVar[str]

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, ns: Sequence[int] = (20, 50, 100, 200, 500), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ns = _checked_cutoffs(ns)
        self.add_state("total", torch.zeros(len(self.ns), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, ranks: Tensor, mask: Tensor | None = None) -> None:
        """Count a batch of users.

        Args:
            ranks: (B, T) integer ranks of each user's distinct targets, the best being 1; 0 = no target.
            mask: (B, T) bool, True for a real target; None: every rank above 0 is one.

        Raises:
            ValueError: if a shape is wrong.
            TypeError: if ``ranks`` are not integers or ``mask`` is not bool.
        """
        if ranks.ndim != 2:
            raise ValueError(
                f"ranks must have shape (B, T), got {tuple(ranks.shape)}: give each user one row"
            )
        if ranks.is_floating_point() or ranks.is_complex() or ranks.dtype == torch.bool:
            raise TypeError(f"ranks must be integers, got {ranks.dtype}: pass the result of target_ranks")
        if mask is not None and mask.shape != ranks.shape:
            raise ValueError(
                f"mask must have the shape of ranks {tuple(ranks.shape)}, got {tuple(mask.shape)}: "
                "give one entry for each rank"
            )
        if mask is not None and mask.dtype != torch.bool:
            raise TypeError(f"mask must be bool, got {mask.dtype}: pass targets > 0, True for a real target")
        if ranks.numel() == 0:
            return

        real = ranks > 0 if mask is None else mask & (ranks > 0)
        counted = real.any(1)
        values = self.user_values(ranks, real, torch.tensor(self.ns, device=ranks.device))
        units = (values * _UNITS).round().to(torch.int64)
        # not in place: a state that was reset in inference mode could not be changed outside it
        self.total = self.total + units.masked_fill(~counted.unsqueeze(1), 0).sum(0)
        self.count = self.count + counted.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"<metric_name>@<N>": mean over users}``, one scalar tensor for each cutoff."""
        dtype = widest_float(self.total.device)
        # the unit is a power of two: dividing by it loses nothing
        means = self.total.to(dtype) / _UNITS / self.count.clamp(min=1).to(dtype)
        return {f"{self.metric_name}@{n}": mean for n, mean in zip(self.ns, means, strict=True)}

    @abstractmethod
    def user_values(self, ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
        """Return the value of each user at each cutoff.

        Args:
            ranks: (B, T) integer ranks.
            real: (B, T) bool, True for a real target. A row without any may get any finite value.
            cutoffs: (n,) the cutoffs.

        Returns:
            (B, n) values in [0, 1], of dtype :func:`widest_float`.
        """


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on a device that has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def hits_within(ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
    """Return (B, T, n) bool: whether a real target of rank (B, T) is within each cutoff (n,)."""
    return (ranks.unsqueeze(-1) <= cutoffs) & real.unsqueeze(-1)


def _checked_cutoffs(ns: Iterable[int]) -> tuple[int, ...]:
    advice = "give distinct positive integers, such as [20, 50, 100]"
    try:
        if any(isinstance(n, bool) for n in ns):
            raise TypeError("bool")
        cutoffs = sorted(operator.index(n) for n in ns)
    except TypeError:
        raise TypeError(f"ns must be a sequence of integers, got {ns!r}: {advice}") from None
    if not cutoffs or cutoffs[0] < 1 or len(set(cutoffs)) < len(cutoffs):
        raise ValueError(f"ns must hold distinct cutoffs of at least 1, got {ns!r}: {advice}")
    return tuple(cutoffs)
