"""RankMetric: what the metrics of ranked targets share."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.wrappers import ClasswiseWrapper

from lightning_croloss.common.host_numbers import numbers_beside
from lightning_croloss.configurable import Configurable
from lightning_croloss.metrics.one_cutoff import OneCutoff
from lightning_croloss.metrics.states import StateNames

if TYPE_CHECKING:
    from typing_extensions import Self

# Per-user values lie in [0, 1] and are summed as integers in this unit. Integer sums do not depend on their
# order, so the result is the same to the last bit for every batch size and number of processes; and int64
# exists on devices without float64 (MPS) and is left alone by .half(). The rounding is below 1.2e-10 a user,
# and the sum has room for 2^31 users.
_UNITS = 2**32
_INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
_HIGHEST = torch.iinfo(torch.int64).max


class RankMetric(Configurable, Metric):
    """Mean over users of a value in [0, 1] at several cutoffs N, from the ranks of the user's targets.

    Ranks come from :func:`lightning_croloss.retrieval.target_ranks`. The states are sums, therefore exact
    under DDP when each user is seen by one process, however unevenly users divide. A user without any target
    does not count; without any user the value is 0 (and torchmetrics warns, if ``update`` never ran).

    It works in torchmetrics' ``MetricCollection`` with its default groups, and in ``MetricTracker``. Since it
    computes a dictionary, log it by ``self.log_dict(metric.compute())``; for ``self.log(name, metric)``, and
    in torchmetrics' wrappers of tensors, such as ``BootStrapper`` and ``MinMaxMetric``, take :meth:`at`,
    which computes a tensor.

    Subclasses give :attr:`metric_name` and :meth:`user_values`.

    Args:
        ns: the cutoffs N, distinct positive integers; kept in ascending order.
        **kwargs: passed to ``torchmetrics.Metric``.

    Attributes:
        ns: the cutoffs, ascending.

    Raises:
        ValueError: if ``ns`` is empty or holds a number below 1 or the same one twice.
        TypeError: if ``ns`` is not a sequence of integers.
    """

    metric_name: ClassVar[str]

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, ns: Sequence[int] = (20, 50, 100, 200, 500), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ns = _checked_cutoffs(ns)
        self._states = StateNames.of(type(self), self._init_arguments)
        self.add_state(self._states.total, torch.zeros(len(self.ns), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state(self._states.count, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @classmethod
    def at(cls, n: int, **kwargs: Any) -> OneCutoff:
        """Return this metric at one cutoff, computing a scalar tensor, for ``self.log(name, metric)``.

        Args:
            n: the cutoff N, a positive integer.
            **kwargs: further arguments of the constructor.

        Raises:
            ValueError: if ``n`` is below 1.
            TypeError: if ``n`` is not an integer.
        """
        return OneCutoff(cls((n,), **kwargs))

    @property
    def total(self) -> Tensor:
        """(n,) int64, the sum of the users' values at each cutoff, in units of 2^-32."""
        total: Tensor = getattr(self, self._states.total)
        return total

    @property
    def count(self) -> Tensor:
        """() int64, the number of users."""
        count: Tensor = getattr(self, self._states.count)
        return count

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Change nothing: the states are exact sums of integers."""
        return self

    @property
    def metric(self) -> SimpleNamespace:
        """What ``MetricTracker`` looks up: how many values the metric has, as its ``num_classes``."""
        return SimpleNamespace(num_classes=len(self.ns))

    def update(self, ranks: Tensor, mask: Tensor | None = None) -> None:
        """Count a batch of users.

        Args:
            ranks: (B, T) integer ranks of each user's distinct targets, the best being 1; 0 = no target.
                :func:`lightning_croloss.retrieval.target_ranks` gives 0 to a target that comes again.
            mask: (B, T) bool, True for a real target; None: every rank above 0 is one.

        Raises:
            ValueError: if a shape is wrong.
            TypeError: if ``ranks`` are not a tensor of integers or ``mask`` is not one of bool.
        """
        if not isinstance(ranks, Tensor):
            raise TypeError(
                f"ranks must be a tensor (B, T) of integers, got {type(ranks).__name__}: pass the result of "
                "target_ranks"
            )
        if mask is not None and not isinstance(mask, Tensor):
            raise TypeError(
                f"mask must be a tensor (B, T) of bool, got {type(mask).__name__}: pass targets > 0, True "
                "for a real target"
            )
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
        if ranks.dtype not in _INTEGERS:  # of which torch can compare none
            ranks = ranks.to(torch.int64)

        real = ranks > 0 if mask is None else mask & (ranks > 0)
        counted = real.any(1)
        values = self.user_values(ranks, real, numbers_beside(self.ns, ranks, torch.long))
        units = (values * _UNITS).round().to(torch.int64)
        # not in place: a state that was reset in inference mode could not be changed outside it
        total = self.total + units.masked_fill(~counted.unsqueeze(1), 0).sum(0)
        setattr(self, self._states.total, total)
        setattr(self, self._states.count, self.count + counted.sum())

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"<metric_name>@<N>": mean over users}``, one scalar tensor for each cutoff.

        Raises:
            ValueError: if a collection was told to take another metric's users for this one's.
        """
        self._states.refuse_others(vars(self))
        dtype = widest_float(self.total.device)
        # the unit is a power of two: dividing by it loses nothing
        means = self.total.to(dtype) / _UNITS / self.count.clamp(min=1).to(dtype)
        return {f"{self.metric_name}@{n}": mean for n, mean in zip(self.ns, means, strict=True)}

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the users that another metric of the same kind and cutoffs has counted.

        Args:
            incoming_state: the metric, or its states by name.

        Raises:
            ValueError: if it is of another kind or has other settings.
        """
        if isinstance(incoming_state, Metric) and getattr(incoming_state, "_states", None) != self._states:
            raise ValueError(
                f"{self.metric_name}@{list(self.ns)} takes the users of the same metric alone, got a "
                f"{type(incoming_state).__name__} of other settings: merge metrics of one kind and cutoffs"
            )
        super().merge_state(incoming_state)
        self._update_count += 1
        self._computed = None  # which torchmetrics would return again

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


# MetricTracker expects a dictionary of no other kind of metric (before torchmetrics 1.7, of none)
ClasswiseWrapper.register(RankMetric)  # type: ignore[type-abstract]


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on a device that has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def hits_within(ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
    """Return (B, T, n) bool: whether a real target of rank (B, T) is within each cutoff (n,)."""
    return (ranks.unsqueeze(-1) <= cutoffs) & real.unsqueeze(-1)


def _checked_cutoffs(ns: Iterable[int]) -> tuple[int, ...]:
    advice = "give distinct positive integers, such as [20, 50, 100]"
    try:
        # what can be read once only would be empty by now
        if isinstance(ns, Iterator) or any(isinstance(n, bool) for n in ns):
            raise TypeError("bool")
        cutoffs = sorted(operator.index(n) for n in ns)
    except TypeError:
        raise TypeError(f"ns must be a sequence of integers, got {ns!r}: {advice}") from None
    if not cutoffs or cutoffs[0] < 1 or len(set(cutoffs)) < len(cutoffs):
        raise ValueError(f"ns must hold distinct cutoffs of at least 1, got {ns!r}: {advice}")
    if cutoffs[-1] > _HIGHEST:
        raise ValueError(f"ns must be at most {_HIGHEST}, the highest rank, got {ns!r}: {advice}")
    return tuple(cutoffs)
