"""Schedules: the value of a parameter as a pure function of the optimizer step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from lightning_croloss.common.printed_call import PrintedCall
from lightning_croloss.configurable import Configurable


class Schedule(PrintedCall, Configurable, ABC):
    """A value that changes while training.

    Moments of training (``begin``, ``until``, ``milestones``) are fractions of the whole training if they are
    between 0 and 1, and numbers of optimizer steps if they are larger.
    """

    @abstractmethod
    def value(self, step: int, total: int) -> float:
        """Return the value at optimizer step ``step`` of ``total``."""

    @abstractmethod
    def extremes(self) -> list[float]:
        """Return the values between which all others lie, so that they can be checked before training."""

    def places(self) -> list[float]:
        """Return the moments of training that the schedule was given."""
        return []


class Constant(Schedule):
    """The same value throughout.

    Args:
        value: the value.
    """

    def __init__(self, value: float) -> None:
        self._value = _number("value", value)

    def value(self, step: int, total: int) -> float:
        """Return the value."""
        return self._value

    def extremes(self) -> list[float]:
        """Return the value."""
        return [self._value]


class Ramp(Schedule):
    """From ``start`` at ``begin`` to ``end`` at ``until``; constant before and after.

    Args:
        start: value up to ``begin``.
        end: value from ``until`` on.
        begin: fraction of the training in [0, 1], or a number of optimizer steps above 1.
        until: the same, not before ``begin``.
    """

    def __init__(self, start: float, end: float, begin: float = 0.0, until: float = 1.0) -> None:
        self.start = _number("start", start)
        self.end = _number("end", end)
        self.begin = _moment("begin", begin)
        self.until = _moment("until", until)
        same_unit = (self.begin <= 1.0) == (self.until <= 1.0)
        if same_unit and self.until < self.begin:
            raise ValueError(f"until must not come before begin, got begin={begin}, until={until}")

    @abstractmethod
    def between(self, progress: float) -> float:
        """Return the value at ``progress`` in (0, 1) of the way."""

    def value(self, step: int, total: int) -> float:
        """Return the value at ``step``."""
        first, last = step_of(self.begin, total), step_of(self.until, total)
        if step >= last:
            return self.end
        if step <= first:
            return self.start
        return self.between((step - first) / (last - first))

    def _inside(self, value: float) -> float:
        """Return the value between the ends: rounding must not take it where the parameter may not be."""
        return min(max(value, min(self.start, self.end)), max(self.start, self.end))

    def extremes(self) -> list[float]:
        """Return both ends."""
        return [self.start, self.end]

    def places(self) -> list[float]:
        """Return ``begin`` and ``until``."""
        return [self.begin, self.until]


class Linear(Ramp):
    """A straight line from ``start`` to ``end``.

    Args:
        start: value up to ``begin``.
        end: value from ``until`` on.
        begin: fraction of the training in [0, 1], or a number of optimizer steps above 1.
        until: the same, not before ``begin``.
    """

    def between(self, progress: float) -> float:
        """Return the value on the line."""
        return self._inside(self.start + (self.end - self.start) * progress)


class Geometric(Ramp):
    """Equal ratios in equal times: what a rank or a temperature wants.

    Args:
        start: value up to ``begin``, above 0.
        end: value from ``until`` on, above 0.
        begin: fraction of the training in [0, 1], or a number of optimizer steps above 1.
        until: the same, not before ``begin``.
    """

    def __init__(self, start: float, end: float, begin: float = 0.0, until: float = 1.0) -> None:
        super().__init__(start, end, begin, until)
        if self.start <= 0.0 or self.end <= 0.0:
            raise ValueError(f"Geometric needs start and end above 0, got start={start}, end={end}")

    def between(self, progress: float) -> float:
        """Return the value on the exponential curve."""
        return self._inside(self.start * math.pow(self.end / self.start, progress))


class Cosine(Ramp):
    """Half a cosine wave: slow at both ends.

    Args:
        start: value up to ``begin``.
        end: value from ``until`` on.
        begin: fraction of the training in [0, 1], or a number of optimizer steps above 1.
        until: the same, not before ``begin``.
    """

    def between(self, progress: float) -> float:
        """Return the value on the wave."""
        return self._inside(self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress)))


class Steps(Schedule):
    """One value after the other.

    Args:
        values: the values, one more than milestones.
        milestones: where the next value begins, increasing: fractions in [0, 1] or optimizer steps above 1.
    """

    def __init__(self, values: Sequence[float], milestones: Sequence[float]) -> None:
        self.values = [_number("values", value) for value in values]
        self.milestones = [_moment("milestones", milestone) for milestone in milestones]
        if len(self.values) != len(self.milestones) + 1:
            raise ValueError(
                f"Steps needs one value more than milestones, got {len(self.values)} values and "
                f"{len(self.milestones)} milestones"
            )
        fractions = [milestone for milestone in self.milestones if milestone <= 1.0]
        steps = [milestone for milestone in self.milestones if milestone > 1.0]
        if fractions != sorted(fractions) or steps != sorted(steps):
            raise ValueError(f"milestones must increase, got {list(milestones)}")

    def value(self, step: int, total: int) -> float:
        """Return the value of the last milestone that ``step`` reached."""
        reached = sum(step >= step_of(milestone, total) for milestone in self.milestones)
        return self.values[reached]

    def extremes(self) -> list[float]:
        """Return all values."""
        return self.values

    def places(self) -> list[float]:
        """Return the milestones."""
        return self.milestones


def _number(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")
    return float(value)


def _moment(name: str, value: float) -> float:
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be a fraction in [0, 1] or a number of steps above 1, got {value}")
    if value > 1.0 and value != int(value):
        raise ValueError(f"{name} above 1 is a number of optimizer steps and must be whole, got {value}")
    return float(value)


def step_of(moment: float, total: int) -> float:
    """Return the step of a moment, which is a fraction of ``total`` steps up to 1, and a step above it."""
    return moment * total if moment <= 1.0 else moment
