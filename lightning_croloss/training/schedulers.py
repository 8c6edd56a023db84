"""Learning rate schedulers made of others, such as a warm-up and then a decay.

torch's own want schedulers that are built already, which neither a config file nor ``functools.partial`` can
give. These take what builds them, and build it with the optimizer.
"""

from __future__ import annotations

import functools
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from lightning_croloss.common.called_later import read_called_later

SchedulerLater = Callable[[Optimizer], LRScheduler]
_SEQUENTIAL = torch.optim.lr_scheduler.SequentialLR


class SequentialLR(torch.optim.lr_scheduler.SequentialLR):
    """One scheduler after another: torch's ``SequentialLR``, with schedulers built later, with the optimizer.

    Args:
        optimizer: whose rate it sets.
        schedulers: what builds each scheduler: ``functools.partial(LinearLR, start_factor=0.1)``, or class
            path and arguments in a config.
        milestones: the epochs, or steps, at which the next scheduler begins: one fewer than schedulers,
            rising.
        last_epoch: as in torch.

    Raises:
        ValueError: the milestones do not fit, or a scheduler cannot be part of a sequence.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[SchedulerLater],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        _check_parts("SequentialLR", schedulers)
        _check_milestones(milestones, len(schedulers))
        parts = [build(optimizer) for build in schedulers]
        super().__init__(optimizer, parts, [int(milestone) for milestone in milestones], last_epoch)

    def step(self) -> None:  # type: ignore[override]
        """Go on by one epoch, or step."""
        upcoming = self.last_epoch + 1
        number = bisect_right(self._milestones, upcoming)
        part = self._schedulers[number]
        if number == 0 or self._milestones[number - 1] != upcoming:
            super().step()
        elif isinstance(part, (SequentialLR, ChainedScheduler)):  # which torch cannot begin later
            self.last_epoch = upcoming
            part.begin()
            self._last_lr = part.get_last_lr()
        else:
            with warnings.catch_warnings():
                # of a deprecated argument, which older versions of torch give themselves here
                warnings.filterwarnings("ignore", message="The epoch parameter in `scheduler.step")
                super().step()

    def begin(self) -> None:
        """Begin, whatever the rate is: as part of another sequence."""
        _reset_rate(self.optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self.last_epoch = 0
        first = self._schedulers[0]
        _rewind(first)
        first._initial_step()
        self._last_lr = first.get_last_lr()


class ChainedScheduler(torch.optim.lr_scheduler.ChainedScheduler):
    """Several schedulers at once, each of which changes the rate: torch's, with schedulers built later.

    Args:
        optimizer: whose rate they set.
        schedulers: what builds each scheduler, see :class:`SequentialLR`.

    Raises:
        ValueError: there are none, or one cannot be chained.
    """

    def __init__(self, optimizer: Optimizer, schedulers: list[SchedulerLater]) -> None:
        _check_parts("ChainedScheduler", schedulers)
        super().__init__([build(optimizer) for build in schedulers], optimizer)

    def begin(self) -> None:
        """Begin, whatever the rate is: as part of a sequence."""
        _reset_rate(self.optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        for part in self._schedulers:
            _rewind(part)
            part._initial_step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


#: torch's classes, and those that take what builds their schedulers.
_OURS: dict[type, type] = {
    torch.optim.lr_scheduler.SequentialLR: SequentialLR,
    torch.optim.lr_scheduler.ChainedScheduler: ChainedScheduler,
}


def composed(value: Any) -> Any:
    """Return what builds a scheduler, with torch's own composed schedulers replaced by those above.

    So ``partial(torch.optim.lr_scheduler.SequentialLR, schedulers=[partial(…), …], milestones=[…])`` works.

    Raises:
        ValueError: the schedulers or the milestones do not fit, which is said before any data is read.
    """
    given = read_called_later(value) if isinstance(value, functools.partial) else None
    if given is None or given.cls is None:
        return value
    if given.cls is OneCycleLR:
        _check_total(given.keywords)
    if given.cls not in (*_OURS, *_OURS.values()):
        return value
    keywords, cls = dict(given.keywords), _OURS.get(given.cls, given.cls)
    if isinstance(parts := keywords.get("schedulers"), (list, tuple)):
        keywords["schedulers"] = parts = [composed(part) for part in parts]
        _check_parts(cls.__name__, parts)
        if isinstance(milestones := keywords.get("milestones"), (list, tuple)):
            _check_milestones(milestones, len(parts))
    return functools.partial(cls, *given.positional, **keywords)


def _check_parts(name: str, schedulers: Sequence[SchedulerLater]) -> None:
    if not schedulers:
        raise ValueError(f"{name}: schedulers is empty: give at least one")
    for number, part in enumerate(schedulers):
        cls = _class_of(part)
        if isinstance(part, LRScheduler) or not callable(part):
            raise ValueError(
                f"{name}: schedulers[{number}] must be what builds a scheduler, such as "
                f"functools.partial(LinearLR, start_factor=0.1), got {part!r}"
            )
        if cls is not None and issubclass(cls, ReduceLROnPlateau):
            raise ValueError(
                f"{name}: schedulers[{number}] is a ReduceLROnPlateau, which waits for a metric and "
                "cannot be one of several: give it alone as lr_scheduler"
            )
        if name == "ChainedScheduler" and cls is not None and issubclass(cls, _SEQUENTIAL):
            raise ValueError(
                f"{name}: schedulers[{number}] is a SequentialLR, which sets the rate whatever the others "
                "do: put the ChainedScheduler into the SequentialLR"
            )


def _check_milestones(milestones: Sequence[int], parts: int) -> None:
    rising = all(one < other for one, other in zip([0, *milestones], milestones, strict=False))
    if len(milestones) != parts - 1 or not rising:
        raise ValueError(
            f"SequentialLR: milestones must be one fewer than the {parts} schedulers, at least 1 and rising "
            f"(the epochs or steps at which the next one begins), got {list(milestones)}"
        )


def _check_total(keywords: Mapping[str, Any]) -> None:
    whole = [keywords.get(name) for name in ("epochs", "steps_per_epoch")]
    if keywords.get("total_steps") is None and None in whole:
        raise ValueError(
            "OneCycleLR: total_steps is missing: give the number of steps of the whole training, batches an "
            'epoch times epochs, and lr_scheduler_interval="step"'
        )


def _class_of(value: object) -> type | None:
    given = read_called_later(value)
    return None if given is None else given.cls


def _reset_rate(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        rate, first = group["lr"], group["initial_lr"]
        if isinstance(rate, torch.Tensor):
            rate.fill_(first)
        else:
            group["lr"] = first


def _rewind(part: LRScheduler) -> None:
    if not isinstance(part, (SequentialLR, ChainedScheduler)):
        part.last_epoch = -1
