"""A search by the clock: designs are trained in turns, the better ones go on, and it ends at a time.

Nothing is known of the speed before: it is measured from the first turn on. Times are those of a given clock,
so that all of this can be tried without training anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Generic

from lightning_croloss.tuning.tracks import D, Job, Track, Turn

#: Shares of the time that is left for the first look at all designs, for each round of what is tried around
#: the best one so far, and for a race among the best of all; the rest trains the winner.
LOOK, AROUND, RACE = 0.3, 0.15, 0.35
#: How many such rounds there are, so that two changes may come together; how many designs race.
ROUNDS, RACING = 2, 3
#: Share of the best one's time of training that each design has in such a round, unless fewer than so many
#: then have any: after less, what learns fast is ahead of what ends higher.
AS_LONG, SEVERAL = 1.0, 3
#: Share of the best one's time of training from which on a design is compared by what that one had reached
#: after the same time.
TELLS = 0.5
#: Share of the time that the first look at a design may take, whatever it takes to tell designs apart.
DEAR = 0.14
#: Designs that the first look must have had time for, so that there is time for variants of the best.
ENOUGH = 3
#: Share of the time for the winner in which its rate falls to none; of one that gains no more, so much of the
#: time that it has been trained, if it is so near the best.
COOLING, COOLED, NEAR = 0.4, 0.3, 0.95
#: A turn is so many times as long as what it costs besides training, and at least so many seconds.
TURN, SHORTEST = 4.0, 0.5
#: The last turn is worth beginning if there is so many times the time that it takes besides training.
LAST = 1.5
#: Share of the time that the very first turn may take, and its seconds at most.
FIRST, FIRST_SECONDS = 0.1, 20.0
#: Share of the time of a search that its winner was trained, about: what training it again will take.
WINNER = 0.4


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

    def _promise(self, track: Track[D]) -> float:
        """Return what a track may reach, compared with the best one after the same time of training.

        It has often been trained for less: what it reached by then would tell of that alone. But after much
        less it may only learn faster.
        """
        number = self.best
        if number is None or track.over or not track.values:
            return track.best
        best = self.tracks[number]
        if track.trained < TELLS * best.trained:
            return track.best
        seconds = min(track.trained, best.trained)
        then = best.best_by(seconds)
        return best.best * track.best_by(seconds) / then if then > 0 else track.best

    @staticmethod
    def _reached(track: Track[D]) -> float:
        return track.best

    @property
    def _ahead(self) -> Track[D] | None:
        """The most promising track; None if there is none."""
        return max((track for track in self.tracks if track.values), key=self._promise, default=None)

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
            for _ in range(ROUNDS):
                ahead, seconds = self._ahead, self._share(AROUND)
                least = (
                    0.0 if ahead is None else min(AS_LONG * ahead.trained + self._besides, seconds / SEVERAL)
                )
                self._explore(self._new(self._variants()), seconds, least=least)
        self._race()
        self._finish(waiting)
        return self.best

    def _new(self, designs: Sequence[tuple[D, str]]) -> list[tuple[D, str]]:
        known = [track.design for track in self.tracks]
        return [each for each in designs if each[0] not in known]

    def _variants(self) -> Sequence[tuple[D, str]]:
        ahead = self._ahead
        return [] if ahead is None else self._around(ahead.design)

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
        least: float = 0.0,
    ) -> list[tuple[D, str]]:
        """Train as many designs as the seconds hold, each for the same time, and return the others.

        Args:
            designs: the most promising first.
            seconds: what all of them may take.
            begun: tracks that have had less than their share, and are to have it too.
            look: whether it is the first look, for which even a slow machine has time.
            least: seconds that each has at least.
        """
        waiting, begun, end = list(designs), list(begun), self._clock() + seconds
        number = math.ceil((len(waiting) + len(begun)) / self._processes)
        if not number:
            return waiting
        telling = self._telling + self._besides
        dear = min(telling, self._share(DEAR)) if look else telling
        share = max(seconds / number, self._shortest, dear, least)
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
        """Train the most promising ones on side by side, so that none wins by a quick start alone."""
        seconds = self._share(RACE)
        runners = [track for track in self.tracks if not track.over and track.values]
        runners.sort(key=self._promise, reverse=True)
        first = max(runners, key=self._reached, default=None)
        if first is not None:  # it has proved itself for longer than what is ahead by promise
            runners.remove(first)
            other = next((each for each in runners if each.family != first.family), None)
            if other is not None:  # one that may only begin more slowly
                runners.remove(other)
            runners = [first, *runners[:1], *([] if other is None else [other]), *runners[1:]]
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
        """Train the best ones on, and let their rates fall to none at the end of the time.

        One that gains no more is cooled at once, where it may yet be the best; then others have their turn.
        """
        cooling = COOLING * self.longest
        steady = max((track.best for track in self.tracks), default=0.0)
        while self.longest > (least := LAST * self._besides + SHORTEST / 2):
            going = [track for track in self.tracks if track.error is None and not track.cooled]
            going = [track for track in going if not track.settled or track.best >= NEAR * steady]
            late = cooling < least or self.longest - cooling < least
            order = self._reached if late else self._promise
            batch = sorted(going, key=order, reverse=True)[: self._processes]
            batch += self._begun(waiting, len(batch))
            if len(batch) < self._processes:
                waiting = self._new(self._variants())
                batch += self._begun(waiting, len(batch))
            if not batch:
                return
            wanted, cooled = [], []
            for track in batch:
                seconds = self.longest if late else self.longest - cooling
                if track.settled or (late and track.values):  # else nothing is known of its speed
                    cooled.append(track)
                    if track.settled:
                        seconds = min(self.longest, COOLED * track.trained + self._besides)
                wanted.append((track, seconds))
            self._train(wanted, cooled)
            steady = max([steady, *(track.best for track in batch if track not in cooled)])

    def _begun(self, waiting: list[tuple[D, str]], busy: int = 0) -> list[Track[D]]:
        """Take designs from those that wait, as many as there are processes without work."""
        found = [Track(*waiting.pop(0)) for _ in range(min(self._processes - busy, len(waiting)))]
        self.tracks += found
        return found

    def _is_worth(self, track: Track[D], seconds: float) -> bool:
        """Return whether training on is of use, and more than a start."""
        return not track.over and seconds >= self._shortest / 2

    def _train(self, wanted: Sequence[tuple[Track[D], float]], cooled: Sequence[Track[D]] = ()) -> None:
        """Train tracks on, side by side, each for so many seconds, some of them with a rate that falls."""
        numbers = {id(track): number for number, track in enumerate(self.tracks)}
        began, longest = self._clock(), max(0.0, self.longest)
        jobs = [
            Job(numbers[id(track)], track, max(0.0, min(seconds, longest)), track in cooled)
            for track, seconds in wanted
        ]
        for number, turn in self._advance(jobs) if jobs else ():
            track = self.tracks[number]
            track.spent += self._clock() - began
            track.error, track.settled = turn.error, turn.settled
            track.trained += turn.trained
            track.values += turn.values
            track.moments += turn.moments
            track.cooled = track in cooled
            if turn.error is None:
                self._besides = max(turn.besides, 0.6 * self._besides)
                self._telling = self._telling or turn.telling  # the first design's is as good as any


__all__ = ["TimedSearch"]
