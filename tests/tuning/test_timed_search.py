"""A search by the clock in a simulated world: it ends in time, and finds what is best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.tuning.timed_search import TimedSearch
from lightning_croloss.tuning.tracks import Job, Track, Turn


@dataclass
class World:
    """What designs would reach, and a clock that runs while they are trained.

    Args:
        besides: of each design what a turn costs besides training.
        limits: of each design what it reaches at last.
        failing: the designs that fail.
        telling: seconds after which designs are told apart.
        halves: seconds after which half of that is reached.
    """

    besides: dict[str, float]
    limits: dict[str, float]
    failing: frozenset[str] = frozenset()
    halves: float = 10.0
    now: float = 0.0
    telling: float = 0.0
    turns: list[tuple[str, float]] = field(default_factory=list)
    cooled: list[tuple[str, float]] = field(default_factory=list)

    def advance(self, number: int, track: Track[str], seconds: float, cool: bool = False) -> Turn:
        """Train for a time, with a validation at each third of it; cooling gains a tenth at its end."""
        besides = self.besides.get(track.design, 0.5)
        self.turns.append((track.design, seconds))
        trained = max(0.0, min(seconds - besides, 51 * self.halves - track.trained))
        self.now += besides + trained
        if track.design in self.failing:
            return Turn(error="no")
        moments = tuple(track.trained + trained * third / 3 for third in (1, 2, 3))
        values = tuple(self.value(track.design, moment) for moment in moments)
        if cool:
            self.cooled.append((track.design, seconds))
            return Turn((1.1 * values[-1],), moments[-1:], trained, besides, False, self.telling)
        return Turn(
            values, moments, trained, besides, track.trained + trained > 50 * self.halves, self.telling
        )

    def value(self, design: str, trained: float) -> float:
        """Return what a design reaches after a time."""
        return self.limits.get(design, 0.1) * trained / (trained + self.halves)

    def side_by_side(self, jobs: Sequence[Job[str]]) -> Iterator[tuple[int, Turn]]:
        """Train each from the same moment on; the shortest is answered first."""
        began, ends = self.now, []
        for number, track, seconds, cool in jobs:
            self.now = began
            ends.append((number, self.advance(number, track, seconds, cool), self.now))
        for number, turn, end in sorted(ends, key=lambda each: each[2]):
            self.now = end
            yield number, turn

    def search(
        self, designs: list[str], deadline: float, around: tuple[str, ...] = (), **more: int
    ) -> TimedSearch[str]:
        """Return a search in this world."""
        first = [(design, design[0]) for design in designs]
        return TimedSearch(
            first,
            lambda best: [(each, "v") for each in around],
            self.side_by_side,
            lambda: self.now,
            deadline,
            **more,
        )


costs = st.floats(0.01, 20.0)


@settings(max_examples=150)
@given(
    besides=st.lists(costs, min_size=1, max_size=8),
    limits=st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
    failing=st.frozensets(st.sampled_from("abcdefgh"), max_size=4),
    deadline=st.floats(0.0, 4000.0),
    variants=st.integers(0, 6),
    processes=st.integers(1, 4),
    repeats=st.integers(0, 4),
)
def test_ends_in_time_with_a_model_whatever_the_speed(
    besides: list[float],
    limits: list[float],
    failing: frozenset[str],
    deadline: float,
    variants: int,
    processes: int,
    repeats: int,
) -> None:
    names = list("abcdefgh"[: len(besides)])
    world = World(dict(zip(names, besides, strict=True)), dict(zip("abcdefgh", limits, strict=True)), failing)
    search = world.search(
        names,
        deadline,
        tuple(f"v{number}" for number in range(variants)),
        processes=processes,
        repeats=repeats,
    )
    found = search.run()
    alive = [name for name in names if name not in failing]
    assert (found is None) == (not alive)
    # before one has succeeded there is no time to keep; then no turn begins that has no time
    unavoidable = sum(max(besides) for name in names if name in failing) + max(besides)
    again = 0.0 if found is None else repeats * search.tracks[found].spent
    assert world.now <= max(deadline, 0.0) + unavoidable + 1e-6
    if search.tracks[0].error is None and processes == 1:  # else another one may be the best at last
        assert world.now + again <= max(deadline, 0.0) + (1 + repeats) * unavoidable + 1e-6


def test_no_time_at_all_trains_the_first_design_once() -> None:
    world = World({}, {})
    search = world.search(["a", "b"], -5.0)
    assert search.run() == 0
    assert world.turns == [("a", 0.0)]


def test_the_time_is_used() -> None:
    world = World({}, {"a": 0.2, "b": 0.4}, halves=300.0)
    world.search(["a", "b"], 600.0).run()
    assert 0.98 * 600 <= world.now <= 600


def test_ends_early_once_nothing_gains_any_more() -> None:
    world = World({}, {}, halves=0.001)
    search = world.search(["a", "b"], 10_000.0, ("v1",))
    assert search.run() is not None
    assert {track.design for track in search.tracks} == {"a", "b", "v1"}
    assert world.now < 10_000


@pytest.mark.parametrize("best", ["a", "c", "e"])
def test_the_best_design_wins_and_is_trained_longest(best: str) -> None:
    world = World({}, {best: 0.6, "a": 0.3, "b": 0.3} | {best: 0.6}, halves=30.0)
    search = world.search(list("abcdef"), 900.0)
    number = search.run()
    assert number is not None
    assert search.tracks[number].design == best
    assert search.tracks[number].spent == max(track.spent for track in search.tracks)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_rate_of_the_winner_falls_at_the_end(processes: int) -> None:
    world = World({}, {"b": 0.6}, halves=300.0)
    search = world.search(list("abc"), 900.0, processes=processes)
    number = search.run()
    assert number is not None
    assert search.tracks[number].design == "b"
    assert search.tracks[number].cooled
    assert world.turns[-processes:] == world.cooled  # the very last turn
    share = dict(world.cooled)["b"] / search.tracks[number].spent
    assert 0.15 < share < 0.35
    assert world.now <= 900


def test_what_gains_no_more_is_cooled_where_it_may_be_the_best() -> None:
    world = World({}, {"a": 0.2, "b": 0.4, "c": 0.39, "d": 0.3}, halves=1.0)
    search = world.search(list("abcd"), 10_000.0)
    number = search.run()
    assert [name for name, _ in world.cooled] == ["b", "c"]
    assert [track.design for track in search.tracks if not track.cooled] == ["a", "d"]
    assert number is not None
    assert search.tracks[number].best > 0.4
    # a third as long as it was trained before, and what a turn takes besides
    assert dict(world.cooled)["b"] == pytest.approx(0.3 * 51.0 + 0.5)


def test_with_little_time_the_rate_falls_at_once() -> None:
    world = World({"a": 1.0}, {"a": 0.5}, halves=1e6)
    world.search(["a"], 4.0).run()
    (_, first), (_, last) = world.turns
    assert world.cooled == [("a", last)]
    assert last > 2.0 > first


def test_variants_of_the_best_are_tried_and_may_win() -> None:
    world = World({}, {"b": 0.4, "v2": 0.8}, halves=20.0)
    search = world.search(["a", "b", "c"], 900.0, ("v1", "v2"))
    number = search.run()
    assert number is not None
    assert search.tracks[number].design == "v2"


def test_two_changes_may_come_together() -> None:
    world = World({}, {"b": 0.4, "v2": 0.5, "w2": 0.8}, halves=20.0)
    around = {"v2": ["v1", "w1", "w2"]}
    search = TimedSearch(
        [(design, design) for design in "abc"],
        lambda best: [(each, "v") for each in around.get(best, ["v1", "v2"])],
        world.side_by_side,
        lambda: world.now,
        900.0,
    )
    number = search.run()
    assert number is not None
    assert search.tracks[number].design == "w2"
    assert [track.design for track in search.tracks].count("v1") == 1


def test_designs_are_compared_after_the_same_time() -> None:
    track = Track("a", "a", values=[0.2, 0.1, 0.4], moments=[10.0, 20.0, 40.0])
    assert [track.best_by(t) for t in (0, 5, 10, 15, 20, 30, 40, 99)] == pytest.approx(
        [0.0, 0.1, 0.2, 0.2, 0.2, 0.3, 0.4, 0.4]
    )
    # what is tried around the best has less time than the first look gave it, and is behind it by that alone
    world = World({}, {"a": 0.5, "b": 0.1, "v5": 0.55}, halves=2000.0)
    search = world.search(list("abcdef"), 2000.0, tuple(f"v{number}" for number in range(9)))
    number = search.run()
    assert number is not None
    assert search.tracks[number].design == "v5"


def test_what_only_learns_faster_does_not_win() -> None:
    class Sprinters(World):
        def value(self, design: str, trained: float) -> float:
            if design.startswith("v"):  # ahead for the time of a look
                return 0.36 * trained / (trained + 60.0)
            return super().value(design, trained)

    world = Sprinters({}, {"a": 0.6}, halves=200.0)
    search = TimedSearch(
        [(design, design) for design in "abcdef"],
        lambda best: [(f"v{number}", "a") for number in range(9)],  # of the family of the best
        world.side_by_side,
        lambda: world.now,
        2000.0,
    )
    number = search.run()
    assert world.value("v", 100.0) > 1.1 * world.value("a", 100.0)
    assert number is not None
    assert search.tracks[number].design == "a"
    assert search.tracks[number].spent == max(track.spent for track in search.tracks)


def test_short_of_time_only_the_first_designs_are_tried() -> None:
    world = World(dict.fromkeys("abcdef", 2.0), {})
    search = world.search(list("abcdef"), 40.0)
    search.run()
    tried = [track.design for track in search.tracks]
    assert tried == list("abcdef")[: len(tried)]
    assert len(tried) < 4


def test_no_turn_is_too_short_to_tell_designs_apart() -> None:
    world = World({}, {}, telling=60.0)
    world.search(list("abcdef"), 900.0, ("v1", "v2")).run()
    assert next(seconds for name, seconds in world.turns if name in "bcdef") >= 60
    dear = World({}, {}, telling=1e6, halves=1e4)  # nobody can wait for that
    dear.search(list("abcdef"), 900.0, ("v1", "v2")).run()
    tried = [name for name, _ in dear.turns]
    assert set(tried) == {"a", "b"}
    (_, training), (name, cooling) = dear.turns[-2:]
    assert {name} == {each for each, _ in dear.turns[-2:]}
    assert training + cooling > 0.5 * 900  # most of the time is for one


def test_the_race_has_several_families() -> None:
    world = World({}, {"a1": 0.5, "a2": 0.49, "a3": 0.48, "b1": 0.3}, halves=100.0)
    search = world.search(["a1", "a2", "a3", "b1"], 1000.0)
    search.run()
    # its share of the first look, and one of the race
    assert sum(name == "b1" for name, _ in world.turns) == 2
    assert sum(name == "a3" for name, _ in world.turns) <= 2


def test_a_search_that_is_taken_up_again_does_not_repeat_itself() -> None:
    world = World({}, {}, halves=50.0)
    search = world.search(["a", "b"], 300.0)
    search.run()
    again = World({}, {}, halves=50.0)
    tracks = [
        Track(
            each.design,
            each.family,
            each.trained,
            each.spent,
            list(each.values),
            moments=list(each.moments),
        )
        for each in search.tracks
    ]
    more = TimedSearch(
        [("a", "a"), ("b", "b")], lambda best: [], again.side_by_side, lambda: again.now, 100.0, tracks
    )
    assert more.run() is not None
    assert [track.design for track in more.tracks] == ["a", "b"]
    assert again.now <= 101


def test_the_deadline_may_move() -> None:
    world = World({}, {}, halves=1e6)
    search = world.search(["a"], 1000.0)
    advance = world.side_by_side

    def moving(jobs: Sequence[Job[str]]) -> Iterator[tuple[int, Turn]]:
        search.deadline = 100.0
        return advance(jobs)

    search._advance = moving
    search.run()
    assert world.now <= 101


@pytest.mark.parametrize("repeats", [1, 2, 4])
def test_the_winner_can_be_trained_again_within_the_time(repeats: int) -> None:
    world = World({}, {"c": 0.6}, halves=300.0)
    search = world.search(list("abcdef"), 900.0, repeats=repeats)
    number = search.run()
    assert number is not None
    spent = search.tracks[number].spent
    assert 0.97 * 900 <= world.now + repeats * spent <= 900 + 1e-6
    assert spent >= 900 * 0.1
    assert len(search.tracks) == 6  # the look is shorter, not narrower


def test_side_by_side_more_is_trained_in_the_same_time() -> None:
    spent = {}
    for processes in (1, 2, 3):
        world = World({}, {}, halves=300.0)
        search = world.search(list("abcdef"), 600.0, ("v1", "v2"), processes=processes)
        search.run()
        assert 0.97 * 600 <= world.now <= 600
        spent[processes] = sum(track.spent for track in search.tracks)
    assert spent[2] > 1.85 * spent[1]
    assert spent[3] > 2.7 * spent[1]  # two variants for three processes


def test_a_turn_that_was_not_over_is_made_first_when_the_search_is_taken_up_again() -> None:
    world = World({}, {})
    tracks = [Track("a", "a", error="no"), Track("b", "b"), Track("c", "c")]
    search = TimedSearch(
        [(name, name) for name in "abcd"],
        lambda best: [],
        world.side_by_side,
        lambda: world.now,
        0.0,
        tracks,
    )
    assert search.run() == 1
    assert world.turns == [("b", 0.0)]
