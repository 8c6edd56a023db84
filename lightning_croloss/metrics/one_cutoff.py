"""OneCutoff: a metric of ranks at a single N, as a tensor."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.wrappers.abstract import WrapperMetric

if TYPE_CHECKING:
    from typing_extensions import Self


class OneCutoff(WrapperMetric):
    """The value of a ``RankMetric`` of one cutoff as a scalar tensor, which ``self.log`` takes.

    Made by ``RankMetric.at``. A ``MetricCollection`` of a list calls it by its class; therefore an object is
    of a subclass that bears the name of its value, such as ``recall@10``. Give the collection a dictionary
    for other names.

    Example:
        >>> import torch
        >>> from lightning_croloss import RecallAtN
        >>> recall = RecallAtN.at(10)
        >>> recall.update(torch.tensor([[1, 7, 30], [2, 0, 0]]))
        >>> round(recall.compute().item(), 4)
        0.8333

    Args:
        ranked: a ``RankMetric`` of a single cutoff.

    Attributes:
        ranked: the metric.

    Raises:
        ValueError: if the metric has several cutoffs.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    _saved_as: ClassVar[type[OneCutoff] | None] = None

    def __init__(self, ranked: Metric) -> None:
        super().__init__()
        ns: tuple[int, ...] = getattr(ranked, "ns", ())
        if len(ns) != 1:
            raise ValueError(f"the metric must have one cutoff, got {list(ns)}: give it a single n")
        self.ranked = ranked
        # of wrappers and collections, which read and write the states of what they hold
        self._defaults, self._reductions = ranked._defaults, ranked._reductions
        self._persistent = dict.fromkeys(ranked._defaults, False)  # the metric saves them
        self._take_name()

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled as an object of the class that can be imported."""
        return _empty, (self._saved_as or type(self),), self.__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickled one, and the name with it."""
        super().__setstate__(state)
        self._take_name()

    def _take_name(self) -> None:
        """Become an object of the class that bears the value's name."""
        ranked: Any = self.ranked
        name = f"{ranked.metric_name}@{ranked.ns[0]}".replace(".", "_")  # torch allows no dot in a module's
        self.__class__ = _named(self._saved_as or type(self), name)

    def __getattr__(self, name: str) -> Any:
        """Return the metric's states as the own."""
        return getattr(self.ranked, name) if self._is_state(name) else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Give the metric its states."""
        if self._is_state(name):
            setattr(self.ranked, name, value)
        else:
            super().__setattr__(name, value)

    def _is_state(self, name: str) -> bool:
        ranked = self.__dict__.get("_modules", {}).get("ranked")
        return ranked is not None and name in ranked._defaults

    def update(self, ranks: Tensor, mask: Tensor | None = None) -> None:
        """Count a batch of users; see ``RankMetric.update``."""
        self.ranked.update(ranks, mask)
        self._update_count += 1

    def compute(self) -> Tensor:
        """Return the mean over users, a scalar."""
        value: Tensor
        # the states may be another's since it has computed
        self.ranked._computed = None
        self.ranked._update_count = max(self.ranked._update_count, self._update_count)
        (value,) = self.ranked.compute().values()
        return value

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Count a batch of users and return the mean over these."""
        value: Tensor
        (value,) = self.ranked(*args, **kwargs).values()
        self._forward_cache = value  # type: ignore[assignment]
        self._update_count += 1
        self._computed = None
        return value

    def reset(self) -> None:
        """Forget all users."""
        super().reset()
        self.ranked.reset()

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Change nothing: the states are exact sums of integers."""
        return self

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Add up over the processes, as :meth:`compute` does; see ``torchmetrics.Metric.sync``."""
        self.ranked.sync(*args, **kwargs)
        self._is_synced = self.ranked._is_synced

    def unsync(self, should_unsync: bool = True) -> None:
        """Take back the sums of this process."""
        self.ranked.unsync(should_unsync)
        self._is_synced = self.ranked._is_synced

    def persistent(self, mode: bool = False) -> None:
        """Say whether ``state_dict`` holds the sums, which are the metric's."""
        super().persistent(mode)
        self.ranked.persistent(mode)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the users that another such metric has counted; see ``RankMetric.merge_state``."""
        other = incoming_state.ranked if isinstance(incoming_state, OneCutoff) else incoming_state
        self.ranked.merge_state(other)


def _empty(cls: type[OneCutoff]) -> OneCutoff:
    return cls.__new__(cls)


@functools.cache
def _named(base: type[OneCutoff], name: str) -> type[OneCutoff]:
    """Return a subclass that differs in its name alone."""
    return type(name, (base,), {"_saved_as": base, "__module__": base.__module__, "__doc__": base.__doc__})
