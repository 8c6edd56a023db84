"""A search by the clock: designs are trained in turns, the better ones go on, and it ends at a time.

Nothing is known of the speed before: it is measured from the first turn on. Times are those of a given clock,
so that all of this can be tried without training anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

#: Shares of the time that is left for the first look at all designs, for what is tried around the best one,
#: and for a race among the best of both; the rest trains the winner.
LOOK, AROUND, RACE, RACING = 0.4, 0.4, 0.45, 3
#: Share of the time that the first look at a design may take, whatever it takes to tell designs apart.
DEAR = 0.19
#: Designs that the first look must have had time for, so that there is time for variants of the best.
ENOUGH = 3
#: A turn is so many times as long as what it costs besides training, and at least so many seconds.
TURN, SHORTEST = 4.0, 0.5
#: The last turn is worth beginning if there is so many times the time that it takes besides training.
LAST = 1.5
#: Share of the time that the very first turn may take, and its seconds at most.
FIRST, FIRST_SECONDS = 0.1, 20.0

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
    """

    design: D
    family: str
    trained: float = 0.0
    spent: float = 0.0
    values: list[float] = field(default_factory=list)
    settled: bool = False
    error: str | None = None

    @property
    def best(self) -> float:
        """The best value so far."""
        return max(self.values, default=float("-inf"))

    @property
    def over(self) -> bool:
        """Whether training on would be of no use."""
        return self.error is not None or self.settled


@dataclass(frozen=True)
class Turn:
    """What came of a turn.

    Args:
        values: what its validations reached, the last one at its end.
        trained: seconds of training.
        besides: seconds of what every turn takes besides: to begin, to validate at the end, to save.
        settled: whether it gains no more.
        telling: seconds of training after which designs are told apart.
        error: why it failed; None if it did not.
    """

    values: tuple[float, ...] = ()
    trained: float = 0.0
    besides: float = 0.0
    settled: bool = False
    telling: float = 0.0
    error: str | None = None


class TimedSearch(Generic[D]):
    """Searches until a time.

    Args:
        first: the designs, the most promising first, each with its family.
        around: returns what is tried around the best one, the most promising first.
        advance: trains a track from where it stands, and validates it, in so many seconds altogether.
        clock: the time in seconds.
        deadline: the time at which all is to be over.
        tracks: those of a search that is taken up again.
        besides: what a turn took besides training then.
    """

    def __init__(
        self,
        first: Sequence[tuple[D, str]],
        around: Callable[[D], Sequence[tuple[D, str]]],
        advance: Callable[[int, Track[D], float], Turn],
        clock: Callable[[], float],
        deadline: float,
        tracks: Sequence[Track[D]] = (),
        besides: float = 0.0,
    ) -> None:
        self.tracks: list[Track[D]] = list(tracks)
        #: may be moved while it runs
        self.deadline = deadline
        self._first = list(first)
        self._around = around
        self._advance = advance
        self._clock = clock
        self._besides, self._telling = besides, 0.0

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.deadline - self._clock()

    @property
    def best(self) -> int | None:
        """The number of the best track; None if there is none."""
        measured = [number for number, track in enumerate(self.tracks) if track.values]
        return max(measured, key=lambda number: (self.tracks[number].best, -number), default=None)

    def run(self) -> int | None:
        """Search, and return the number of the best track; None if all have failed."""
        waiting = self._new(self._first)
        while self.best is None and waiting:  # one is trained in any case, and shows the speed
            self._begin(waiting.pop(0), min(FIRST * self.left, FIRST_SECONDS))
        waiting = self._explore(waiting, LOOK * self.left, self.tracks, look=True)
        if self.best is not None:
            if len(self.tracks) >= ENOUGH:  # with less time all of it is for the most promising one
                self._explore(self._new(self._variants()), AROUND * self.left)
            self._race()
            self._finish(waiting)
        return self.best

    def _new(self, designs: Sequence[tuple[D, str]]) -> list[tuple[D, str]]:
        known = [track.design for track in self.tracks]
        return [each for each in designs if each[0] not in known]

    def _variants(self) -> Sequence[tuple[D, str]]:
        best = self.best
        return [] if best is None else self._around(self.tracks[best].design)

    @property
    def _shortest(self) -> float:
        return max(SHORTEST, TURN * self._besides)

    def _explore(
        self,
        designs: Sequence[tuple[D, str]],
        seconds: float,
        begun: Sequence[Track[D]] = (),
        look: bool = False,
    ) -> list[tuple[D, str]]:
        """Train as many designs as the seconds hold, each for the same time, and return the others.

        Args:
            designs: the most promising first.
            seconds: what all of them may take.
            begun: tracks that have had less than their share, and are to have it too.
            look: whether it is the first look, for which even a slow machine has time.
        """
        waiting, end = list(designs), self._clock() + seconds
        number = len(waiting) + len(begun)
        if not number:
            return waiting
        telling = self._telling + self._besides
        share = max(seconds / number, self._shortest, min(telling, DEAR * self.left) if look else telling)
        for track in begun:
            if self._clock() + share <= end + 1e-6:
                self._train(track, share - track.spent)
        while waiting and self._clock() + share <= end + 1e-6:
            self._begin(waiting.pop(0), share)
        return waiting

    def _race(self) -> None:
        """Train the best ones on side by side, so that none wins by a quick start alone."""
        seconds = RACE * self.left
        runners: list[Track[D]] = []
        ordered = sorted((track for track in self.tracks if not track.over), key=lambda track: -track.best)
        for track in ordered:
            if track.family not in [each.family for each in runners]:
                runners.append(track)
        runners += [track for track in ordered if track not in runners]  # the best of each family come first
        shortest = max(self._shortest, self._telling)
        while len(runners) > RACING or seconds / max(1, len(runners)) < shortest:
            if len(runners) <= 1:
                return
            runners.pop()
        if len(runners) > 1:
            share = seconds / len(runners)
            for track in runners:
                self._train(track, share)

    def _finish(self, waiting: list[tuple[D, str]]) -> None:
        """Train the best one on until the time is over; others once it gains no more."""
        while self.left > LAST * self._besides + SHORTEST / 2:
            going = [track for track in self.tracks if not track.over]
            if going:
                self._train(max(going, key=lambda each: each.best), self.left, always=True)
            elif waiting:
                self._begin(waiting.pop(0), self.left)
            elif more := self._new(self._variants()):
                waiting = list(more)
            else:
                return

    def _begin(self, design: tuple[D, str], seconds: float) -> None:
        track = Track(*design)
        self.tracks.append(track)
        self._train(track, seconds, always=True)

    def _train(self, track: Track[D], seconds: float, always: bool = False) -> None:
        """Train a design on for so many seconds, unless it has no use any more or is no more than a start."""
        if not always and (track.over or seconds < self._shortest / 2):
            return
        number = next(number for number, each in enumerate(self.tracks) if each is track)
        began = self._clock()
        turn = self._advance(number, track, max(0.0, min(seconds, self.left)))
        track.spent += self._clock() - began
        track.error, track.settled = turn.error, turn.settled
        track.trained += turn.trained
        track.values += turn.values
        if turn.error is None:
            self._besides = max(turn.besides, 0.6 * self._besides)
            self._telling = self._telling or turn.telling  # the first design's is as good as any


__all__ = ["TimedSearch", "Track", "Turn"]
