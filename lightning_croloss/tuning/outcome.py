"""What came of training a candidate up to a rung."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_croloss.tuning.objective import Objective


@dataclass(frozen=True)
class Validation:
    """The metrics of one validation.

    Args:
        step: number of training steps before it.
        metrics: what was logged, by name.
        apart: whether it was made for a rung, besides those of the fit itself.
    """

    step: int
    metrics: Mapping[str, float]
    apart: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a candidate stands at a rung.

    Args:
        step: number of training steps so far; below the rung's if the fit has ended early.
        validations: all of its validations so far, those before earlier rungs included.
        finished: whether its fit is over, at its full length or by ``EarlyStopping``.
        error: why it failed, one sentence; it is out then. None if it did not.
        seconds: what training and validating took, of this and all earlier segments.
    """

    step: int
    validations: tuple[Validation, ...] = ()
    finished: bool = False
    error: str | None = None
    seconds: float = 0.0

    def value(self, objective: Objective) -> float:
        """Return the best value so far, minus infinity if it has failed.

        Best of what: of the fit's own validations, since the checkpoint that the fit keeps is the best of
        them, and of the validation at this rung, as the fit could be ended here. Those that were made apart
        at earlier rungs do not count, as no checkpoint of theirs is kept.
        """
        if self.error is not None:
            return -math.inf
        counted = (each for each in self.validations if not each.apart or each.step == self.step)
        return max((objective.value(each.metrics) for each in counted), default=-math.inf)

    def to_plain(self) -> dict[str, Any]:
        """Return a dictionary of plain values, for files."""
        validations = [
            {"step": each.step, "apart": each.apart, "metrics": dict(each.metrics)}
            for each in self.validations
        ]
        return {
            "step": self.step,
            "finished": self.finished,
            "error": self.error,
            "seconds": self.seconds,
            "validations": validations,
        }

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Outcome:
        """Build what :meth:`to_plain` has described; what is of no such form fails with some error."""
        found: Iterable[Mapping[str, Any]] = content["validations"]
        validations = tuple(
            Validation(
                int(each["step"]),
                {str(name): float(value) for name, value in each["metrics"].items()},
                bool(each["apart"]),
            )
            for each in found
        )
        error = None if content["error"] is None else str(content["error"])
        step, seconds = int(content["step"]), float(content["seconds"])
        return cls(step, validations, bool(content["finished"]), error, seconds)
