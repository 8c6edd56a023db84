"""How the designs of a search by the clock stand, and what it asks for and is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

D = TypeVar("D")


@dataclass(eq=False)
class Track(Generic[D]):
    """How one design stands.

    Args:
        design: what is trained.
        family: designs of one family are rarely both in the race.
        trained: seconds of training so far.
        spent: seconds so far, all included.
        values: what each validation reached.
        settled: whether it gains no more.
        error: why it failed; None if it did not.
        cooled: whether its learning rate has fallen to none.
        moments: the seconds of training before each validation.
    """

    design: D
    family: str
    trained: float = 0.0
    spent: float = 0.0
    values: list[float] = field(default_factory=list)
    settled: bool = False
    error: str | None = None
    cooled: bool = False
    moments: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The best value so far."""
        return max(self.values, default=float("-inf"))

    def best_by(self, seconds: float) -> float:
        """Return the best value by a moment of its training, between validations along a straight line."""
        earlier, reached = 0.0, 0.0
        for moment, best in zip(self.moments, accumulate(self.values, max), strict=True):
            if seconds < moment:
                return reached + (best - reached) * (seconds - earlier) / (moment - earlier)
            earlier, reached = moment, best
        return reached

    @property
    def over(self) -> bool:
        """Whether training on as before would be of no use."""
        return self.error is not None or self.settled or self.cooled


@dataclass(frozen=True)
class Turn:
    """What came of a turn.

    Args:
        values: what its validations reached, the last one at its end.
        moments: the seconds of training before each of them, since the beginning of the track.
        trained: seconds of training.
        besides: seconds of what every turn takes besides: to begin, to validate at the end, to save.
        settled: whether it gains no more.
        telling: seconds of training after which designs are told apart.
        error: why it failed; None if it did not.
    """

    values: tuple[float, ...] = ()
    moments: tuple[float, ...] = ()
    trained: float = 0.0
    besides: float = 0.0
    settled: bool = False
    telling: float = 0.0
    error: str | None = None


class Job(NamedTuple, Generic[D]):
    """A track to train on.

    Attributes:
        number: its number.
        track: how it stands.
        seconds: what it may take, all included.
        cool: whether its learning rate falls to none in this time.
    """

    number: int
    track: Track[D]
    seconds: float
    cool: bool = False


__all__ = ["D", "Job", "Track", "Turn"]
