"""A search by the clock: designs are trained in turns, the better ones go on, and it ends at a time.

Nothing is known of the speed before: it is measured from the first turn on. Times are those of a given clock,
so that all of this can be tried without training anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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
#: Share of the time of a search that its winner was trained, about: what training it again will take.
WINNER = 0.3

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


#: A track to train on, with its number and the seconds that it has.
Job = tuple[int, Track[D], float]


class TimedSearch(Generic[D]):
    """Searches until a time.

    Args:
        first: the designs, the most promising first, each with its family.
        around: returns what is tried around the best one, the most promising first.
        advance: trains tracks from where they stand, side by side, and validates them, each in so many
            seconds altogether; gives the turn of each with its number, in any order.
        clock: the time in seconds.
        deadline: the time at which all is to be over.
        tracks: those of a search that is taken up again.
        besides: what a turn took besides training then.
        processes: how many tracks are trained side by side.
        repeats: how many times the winner is to be trained again, as long as it was, by the deadline.
    """

    def __init__(
        self,
        first: Sequence[tuple[D, str]],
        around: Callable[[D], Sequence[tuple[D, str]]],
        advance: Callable[[Sequence[Job[D]]], Iterable[tuple[int, Turn]]],
        clock: Callable[[], float],
        deadline: float,
        tracks: Sequence[Track[D]] = (),
        besides: float = 0.0,
        processes: int = 1,
        repeats: int = 0,
    ) -> None:
        self.tracks: list[Track[D]] = list(tracks)
        #: may be moved while it runs
        self.deadline = deadline
        self._first = list(first)
        self._around = around
        self._advance = advance
        self._clock = clock
        self._besides, self._telling = besides, 0.0
        self._processes, self._repeats = processes, repeats

    @property
    def left(self) -> float:
        """The seconds that are left, without those for training the best one again."""
        best = self.best
        again = 0.0 if best is None else self._repeats * self.tracks[best].spent
        return self.deadline - self._clock() - again

    @property
    def longest(self) -> float:
        """The seconds that a track may take, if it is then to be trained again as the best one."""
        return self.left / (1 + self._repeats)

    @property
    def best(self) -> int | None:
        """The number of the best track; None if there is none."""
        measured = [number for number, track in enumerate(self.tracks) if track.values]
        return max(measured, key=lambda number: (self.tracks[number].best, -number), default=None)

    def run(self) -> int | None:
        """Search, and return the number of the best track; None if all have failed."""
        waiting = self._new(self._first)
        while self.best is None:  # one is trained in any case, and shows the speed
            batch = [track for track in self.tracks if not track.values and not track.over]
            batch = batch[: self._processes] or self._begun(waiting)
            if not batch:
                return None
            seconds = min(FIRST * self.left, FIRST_SECONDS)
            self._train([(track, seconds) for track in batch])
        waiting = self._explore(waiting, self._share(LOOK), self.tracks, look=True)
        if len(self.tracks) >= ENOUGH:  # with less time all of it is for the most promising one
            self._explore(self._new(self._variants()), self._share(AROUND))
        self._race()
        self._finish(waiting)
        return self.best

    def _new(self, designs: Sequence[tuple[D, str]]) -> list[tuple[D, str]]:
        known = [track.design for track in self.tracks]
        return [each for each in designs if each[0] not in known]

    def _variants(self) -> Sequence[tuple[D, str]]:
        best = self.best
        return [] if best is None else self._around(self.tracks[best].design)

    def _share(self, share: float) -> float:
        """Return a share of the time of the search, without what training the winner again will take."""
        return share * self.left / (1 + WINNER * self._repeats)

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
        waiting, begun, end = list(designs), list(begun), self._clock() + seconds
        number = math.ceil((len(waiting) + len(begun)) / self._processes)
        if not number:
            return waiting
        telling = self._telling + self._besides
        dear = min(telling, self._share(DEAR)) if look else telling
        share = max(seconds / number, self._shortest, dear)
        while (waiting or begun) and self._clock() + share <= end + 1e-6:
            batch: list[tuple[Track[D], float]] = []
            while begun and len(batch) < self._processes:
                track = begun.pop(0)
                if self._is_worth(track, share - track.spent):
                    batch.append((track, share - track.spent))
            batch += [(track, share) for track in self._begun(waiting, len(batch))]
            self._train(batch)
        return waiting

    def _race(self) -> None:
        """Train the best ones on side by side, so that none wins by a quick start alone."""
        seconds = self._share(RACE)
        runners: list[Track[D]] = []
        ordered = sorted((track for track in self.tracks if not track.over), key=lambda track: -track.best)
        for track in ordered:
            if track.family not in [each.family for each in runners]:
                runners.append(track)
        runners += [track for track in ordered if track not in runners]  # the best of each family come first
        shortest = max(self._shortest, self._telling)
        del runners[max(RACING, self._processes) :]
        while len(runners) > 1:
            share = seconds / math.ceil(len(runners) / self._processes)
            if share >= shortest:
                for at in range(0, len(runners), self._processes):
                    self._train([(track, share) for track in runners[at : at + self._processes]])
                return
            runners.pop()

    def _finish(self, waiting: list[tuple[D, str]]) -> None:
        """Train the best ones on until the time is over; others once they gain no more."""
        while self.longest > LAST * self._besides + SHORTEST / 2:
            going = sorted((track for track in self.tracks if not track.over), key=lambda each: -each.best)
            batch = going[: self._processes]
            batch += self._begun(waiting, len(batch))
            if len(batch) < self._processes:
                waiting = self._new(self._variants())
                batch += self._begun(waiting, len(batch))
            if not batch:
                return
            self._train([(track, self.longest) for track in batch])

    def _begun(self, waiting: list[tuple[D, str]], busy: int = 0) -> list[Track[D]]:
        """Take designs from those that wait, as many as there are processes without work."""
        found = [Track(*waiting.pop(0)) for _ in range(min(self._processes - busy, len(waiting)))]
        self.tracks += found
        return found

    def _is_worth(self, track: Track[D], seconds: float) -> bool:
        """Return whether training on is of use, and more than a start."""
        return not track.over and seconds >= self._shortest / 2

    def _train(self, wanted: Sequence[tuple[Track[D], float]]) -> None:
        """Train tracks on, side by side, each for so many seconds."""
        numbers = {id(track): number for number, track in enumerate(self.tracks)}
        began, longest = self._clock(), max(0.0, self.longest)
        jobs = [(numbers[id(track)], track, max(0.0, min(seconds, longest))) for track, seconds in wanted]
        for number, turn in self._advance(jobs) if jobs else ():
            track = self.tracks[number]
            track.spent += self._clock() - began
            track.error, track.settled = turn.error, turn.settled
            track.trained += turn.trained
            track.values += turn.values
            if turn.error is None:
                self._besides = max(turn.besides, 0.6 * self._besides)
                self._telling = self._telling or turn.telling  # the first design's is as good as any


__all__ = ["Job", "TimedSearch", "Track", "Turn"]
