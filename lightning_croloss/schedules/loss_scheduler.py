"""LossScheduler: sets the values of a loss on a schedule, in any training loop."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from torch import nn

from lightning_croloss.schedules.checks import as_schedules, check_schedules, find_loss
from lightning_croloss.schedules.curves import Constant, Schedule
from lightning_croloss.schedules.moments import warn_of_moments


class LossScheduler:
    """Sets the values of a loss for each optimizer step, as torch's schedulers set the learning rate.

    The values of the first step are set at once, and those of the next by each :meth:`step`. They are a
    function of the number of steps alone. In Lightning take ``CROLossCallback``, which counts the steps
    itself.

    Example:
        >>> from lightning_croloss import CROLoss, LossScheduler
        >>> from lightning_croloss.schedules import Geometric, Linear
        >>> loss = CROLoss("exp")
        >>> scheduler = LossScheduler(loss, total_steps=4, alpha=Linear(0.8, 1.2), temperature=0.2)
        >>> for batch in range(4):
        ...     pass  # loss(…).backward(), optimizer.step(), optimizer.zero_grad()
        ...     scheduler.step()
        >>> scheduler.get_last_value()
        {'alpha': 1.2, 'temperature': 0.2}

    Args:
        loss: the loss, or a module that holds one.
        total_steps: number of optimizer steps of the whole training, which fractions of the schedules refer
            to: ``epochs * len(loader)``, fewer where gradients are accumulated. After them the last values
            hold, also once the training is over: the loss keeps them. A schedule that begins or ends after
            them gets a warning.
        n: target N of ``TargetNImportance``, or of the rule of ``CROLoss(n=…)``, which then sets α and the
            temperature unless they were given: a number or a schedule. Anneal it from large to small.
        alpha: α of ``PowerImportance``: a number or a schedule.
        lambda_weight: weight of the Lambda method: a number or a schedule.
        temperature: temperature of the loss: a number or a schedule. A small n needs a small one.
        **others: other values that ``loss.schedulable()`` names, such as ``sharpness`` or ``rate``.

    Attributes:
        loss: the loss.
        schedules: the schedules, by name.
        total_steps: the number of optimizer steps.
        last_step: number of steps taken, 0 at first.
        left_alone: values that somebody else sets, so that they do not go with n.

    Raises:
        ValueError: the loss has no such value, a schedule leaves the range that it may have, or
            ``total_steps`` is below 1.
        TypeError: an argument is of another type.
    """

    def __init__(
        self,
        loss: nn.Module,
        total_steps: int,
        n: float | Schedule | None = None,
        alpha: float | Schedule | None = None,
        lambda_weight: float | Schedule | None = None,
        temperature: float | Schedule | None = None,
        **others: float | Schedule | None,
    ) -> None:
        who = type(self).__name__
        if not isinstance(loss, nn.Module):
            raise TypeError(f"{who}: loss must be a RetrievalLoss such as CROLoss, got {loss!r}")
        self.loss = find_loss(loss, who)
        self.total_steps = _whole("total_steps", total_steps, 1)
        given = {"n": n, "alpha": alpha, "lambda_weight": lambda_weight, "temperature": temperature}
        self.schedules = as_schedules({**given, **others}, who)
        check_schedules(who, self.loss, self.schedules, self.total_steps)
        self._look_at_moments(who)
        self.last_step = 0
        self.left_alone: frozenset[str] = frozenset()
        self._n: float | None = None  # of a rule: the loss does not hold it
        self._with_n: tuple[str, ...] = ()
        self.set_step(0)

    def _look_at_moments(self, who: str) -> None:
        warn_of_moments(who, self.schedules, self.total_steps)

    def step(self) -> None:
        """Count an optimizer step, and set the values of the next; call it after ``optimizer.step()``."""
        self.last_step += 1
        self.set_step(min(self.last_step, self.total_steps))

    def set_step(self, step: int) -> dict[str, float]:
        """Set the values of an optimizer step, without counting.

        Args:
            step: number of steps taken before it.

        Returns:
            The values by name, those that go with n among them.

        Raises:
            ValueError: a schedule of one's own gives a value that the loss must not have.
        """
        values = {name: schedule.value(step, self.total_steps) for name, schedule in self.schedules.items()}
        known = self.loss.schedulable()
        for name, value in values.items():
            if name not in known or float(known[name]) != value:
                try:
                    self.loss.check_value(name, value)
                except ValueError as error:
                    raise ValueError(f"schedule of {name!r} at step {step}: {error}") from error
        if "n" in values and "n" not in known:
            self._n = values["n"]
            alone = self.left_alone.union(self.schedules)
            going = self.loss.values_at_n(self._n)
            self._with_n = tuple(name for name in going if name not in alone)
            values |= {name: going[name] for name in self._with_n}
        for name, value in values.items():
            if name in known and float(known[name]) != value:
                known[name].fill_(value)
        return values

    def get_last_value(self) -> dict[str, float]:
        """Return the values that the loss has now of what is scheduled or goes with n, by name."""
        values = {name: float(value) for name, value in self.loss.schedulable().items()}
        if self._n is not None:
            values["n"] = self._n
        return {name: values[name] for name in (*self.schedules, *self._with_n)}

    def state_dict(self) -> dict[str, int]:
        """Return the number of steps taken, and of all steps; the schedules are the constructor's."""
        return {"last_step": self.last_step, "total_steps": self.total_steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state: the loss has the values of that step at once.

        ``total_steps`` is the state's, so that a longer training does not shift what has begun.

        Raises:
            ValueError: it is not a state of a ``LossScheduler``, or the schedules do not fit it.
            TypeError: likewise.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"last_step", "total_steps"}:
            raise ValueError(
                "state_dict must be what LossScheduler.state_dict() returned, with last_step and "
                f"total_steps, got {state_dict!r:.80}"
            )
        last_step = _whole("last_step", state_dict["last_step"], 0)
        total_steps = _whole("total_steps", state_dict["total_steps"], 1)
        check_schedules(type(self).__name__, self.loss, self.schedules, total_steps)
        self.last_step, self.total_steps = last_step, total_steps
        self.set_step(min(last_step, total_steps))

    def __repr__(self) -> str:
        """Return the call that makes it."""
        arguments = "".join(
            f", {name}={schedule.extremes()[0] if type(schedule) is Constant else schedule!r}"
            for name, schedule in self.schedules.items()
        )
        return f"{type(self).__name__}({self.loss!r}, total_steps={self.total_steps}{arguments})"


def _whole(name: str, value: Any, least: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number of optimizer steps, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)
