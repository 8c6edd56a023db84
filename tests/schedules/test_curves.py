import inspect
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.configurable import to_config
from lightning_croloss.schedules import Constant, Cosine, Geometric, Linear, Schedule, Steps

RAMPS = [Linear, Geometric, Cosine]

#: class -> the arguments to start from, and for each argument another value
VARIATIONS = {
    Constant: ({"value": 3.0}, {"value": 4.0}),
    **{
        cls: (
            {"start": 100.0, "end": 1.0, "begin": 0.1, "until": 0.9},
            {"start": 90.0, "end": 2.0, "begin": 0.3, "until": 0.6},
        )
        for cls in RAMPS
    },
    Steps: ({"values": [1, 2], "milestones": [0.5]}, {"values": [1, 3], "milestones": [0.6]}),
}


def curve(schedule, total=20):
    return [schedule.value(step, total) for step in range(total + 1)]


def test_there_is_a_case_for_every_schedule_and_argument():
    concrete, waiting = set(), [Schedule]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            if not inspect.isabstract(cls) and cls.__module__.startswith("lightning_croloss."):
                concrete.add(cls)
    assert concrete == VARIATIONS.keys()
    for cls, (start, changed) in VARIATIONS.items():
        assert start.keys() == changed.keys() == inspect.signature(cls).parameters.keys()


@pytest.mark.parametrize(
    ("cls", "name"), [(cls, name) for cls, (start, _) in VARIATIONS.items() for name in start]
)
def test_every_argument_changes_the_curve(cls, name):
    start, changed = VARIATIONS[cls]
    assert curve(cls(**start)) != curve(cls(**{**start, name: changed[name]}))


@pytest.mark.parametrize(
    ("cls", "quarter", "middle"),
    [
        (Linear, 77.0, 54.0),
        (Geometric, 100 * 0.08**0.25, math.sqrt(100 * 8)),
        (Cosine, 8 + 92 * (1 + math.cos(math.pi / 4)) / 2, 54.0),
    ],
)
def test_values_of_a_ramp(cls, quarter, middle):
    schedule = cls(100, 8, begin=0.2, until=0.6)  # of 50 steps: from 10 to 30
    values = {step: schedule.value(step, 50) for step in (0, 10, 15, 20, 30, 31, 50, 1000)}
    assert [values[0], values[10]] == [100.0, 100.0]
    assert values[15] == pytest.approx(quarter)
    assert values[20] == pytest.approx(middle)
    assert [values[30], values[31], values[50], values[1000]] == [8.0] * 4
    assert all(type(value) is float for value in values.values())


@pytest.mark.parametrize("cls", RAMPS)
def test_steps_and_fractions_of_the_same_place_agree(cls):
    fractions = curve(cls(9, 4, begin=0.2, until=0.6), total=50)
    assert curve(cls(9, 4, begin=10, until=30), total=50) == fractions
    assert curve(cls(9, 4, begin=0.2, until=30), total=50) == fractions
    assert curve(cls(9, 4, begin=10, until=0.6), total=50) == fractions
    # steps do not care for the length of training
    assert [cls(9, 4, 10, 30).value(step, 10**6) for step in range(51)] == fractions


@pytest.mark.parametrize("until", [1, 1.0])
def test_a_place_of_one_is_the_end(until):
    assert Linear(0, 10, until=until).value(5, 10) == 5.0
    assert Steps([1, 2], [until]).value(9, 10) == 1.0
    assert Steps([1, 2], [until]).value(10, 10) == 2.0


@pytest.mark.parametrize("cls", RAMPS)
def test_a_ramp_without_a_length_is_a_jump(cls):
    schedule = cls(5, 2, begin=0.5, until=0.5)
    assert [schedule.value(step, 10) for step in (4, 5, 6)] == [5.0, 2.0, 2.0]
    # places in different units may cross only once the length is known: the end wins
    assert [cls(5, 2, begin=8, until=0.5).value(step, 10) for step in (4, 5, 9)] == [5.0, 2.0, 2.0]


def test_steps_change_at_their_milestones():
    schedule = Steps([3, 1, 2, 9], [0.1, 10, 15])
    assert [schedule.value(step, 50) for step in (0, 4, 5, 9, 10, 14, 15, 60)] == [3, 3, 1, 1, 2, 2, 9, 9]
    assert Steps([7], []).value(3, 10) == 7.0


def test_steps_in_order_of_training_whatever_their_units():
    assert curve(Steps([1, 2, 3], [0.5, 5]), total=4) == [1, 1, 2, 2, 2]


positive = st.floats(1e-3, 1e5)
fraction = st.floats(0, 1)


@given(st.sampled_from(RAMPS), positive, positive, fraction, fraction, st.integers(1, 200))
def test_a_ramp_moves_one_way_between_its_ends(cls, start, end, one, other, total):
    schedule = cls(start, end, min(one, other), max(one, other))
    values = curve(schedule, total)
    low, high = sorted((start, end))
    assert all(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value in values)
    assert (values[0], values[-1]) == (start if max(one, other) > 0 else end, end)
    rising = end >= start
    slack = 1e-9 * high
    assert all((b - a if rising else a - b) >= -slack for a, b in itertools.pairwise(values))
    assert sorted(schedule.extremes()) == [low, high]


@pytest.mark.parametrize(
    ("schedule", "extremes", "places"),
    [
        (Constant(3), [3.0], []),
        (Linear(1, 2, 0.1, 50), [1.0, 2.0], [0.1, 50.0]),
        (Steps([3, 1], [20]), [3.0, 1.0], [20.0]),
    ],
)
def test_what_can_be_checked_before_training(schedule, extremes, places):
    assert schedule.extremes() == extremes
    assert schedule.places() == places


def test_schedules_can_be_kept_in_a_checkpoint():
    assert to_config(Steps([3, 1], [20])) == {
        "class_path": "lightning_croloss.callbacks.Steps",
        "init_args": {"values": [3, 1], "milestones": [20]},
    }


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Linear(1, 2, begin=0.6, until=0.5), "until must not come before begin, got begin=0.6"),
        (lambda: Cosine(1, 2, begin=60, until=50), "until must not come before begin"),
        (lambda: Linear(1, 2, begin=-0.1), r"begin must be a fraction in \[0, 1\]"),
        (lambda: Linear(1, 2, until=math.inf), r"until must be a fraction in \[0, 1\]"),
        (lambda: Linear(1, 2, until=math.nan), r"until must be a fraction in \[0, 1\]"),
        (lambda: Linear(1, 2, until=1.5), "until above 1 .* must be whole, got 1.5"),
        (lambda: Linear(math.nan, 2), "start must be a finite number, got nan"),
        (lambda: Linear(1, math.inf), "end must be a finite number, got inf"),
        (lambda: Constant(math.inf), "value must be a finite number"),
        (lambda: Geometric(0, 1), "Geometric needs start and end above 0, got start=0, end=1"),
        (lambda: Geometric(5, -1), "Geometric needs start and end above 0"),
        (lambda: Steps([1, 2], [0.5, 0.6]), "one value more than milestones, got 2 values and 2 milestones"),
        (lambda: Steps([1, 2, 3], [0.6, 0.5]), r"milestones must increase, got \[0.6, 0.5\]"),
        (lambda: Steps([1, 2, 3, 4], [60, 0.5, 50]), "milestones must increase"),
        (lambda: Steps([1, 2], [1.5]), "milestones above 1"),
        (lambda: Steps([1, math.nan], [0.5]), "values must be a finite number"),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
