"""What is said of schedules whose moments a training does not reach."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss import CROLoss, LossScheduler
from lightning_croloss.schedules import Constant, Cosine, Linear, Schedule, Steps
from lightning_croloss.schedules.moments import unreached


class Own(Schedule):
    def __init__(self, *moments):
        self.moments = moments

    def value(self, step, total):
        return 1.0

    def extremes(self):
        return [1.0]

    def places(self):
        return list(self.moments)


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (Linear(50, 10, begin=200), "begin=200 comes after until=1 (step 20)"),
        (Linear(50, 10, begin=200, until=300), "begin=200 is not reached in a training of 20 steps, so the"),
        (Linear(50, 10, begin=1.0), "begin=1 (step 20) is not reached"),
        (Linear(50, 10, begin=15, until=0.5), "begin=15 comes after until=0.5 (step 10) in a training of 20"),
        (Cosine(50, 10, begin=0.5, until=5), "begin=0.5 (step 10) comes after until=5 in a training of 20"),
        (
            Linear(50, 10, until=40),
            "until=40 is not reached in a training of 20 steps, so the value gets from 50",
        ),
        (Linear(50, 10, until=40), "to 30 and not to 10"),
        (Steps([1, 2, 3], [5, 20]), "milestone=20 is not reached"),
        (Steps([1, 2], [1.0]), "milestone=1 (step 20) is not reached"),
        (Steps([1, 2, 3], [15, 0.5]), "milestone=0.5 (step 10) comes before milestone=15"),
        (Own(0.5, 21), "moment=21 is not reached"),
    ],
)
def test_it_is_one_sentence(schedule, sentence):
    found = unreached(schedule, 20, 20)
    assert found is not None
    assert "\n" not in found
    if sentence.startswith("begin=200 comes"):  # the end of the training is no end that was given
        assert "begin=200 is not reached in a training of 20 steps, so the value stays at 50" in found
    else:
        assert sentence in found


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(3),
        Linear(50, 10),
        Linear(50, 50, until=40),
        Linear(50, 10, begin=19, until=20),
        Linear(50, 10, begin=0.5, until=0.5),
        Linear(50, 10, begin=5, until=0.5),
        Steps([1, 2, 3], [15, 0.9]),
        Steps([7], []),
        Own(0.5, 20, 3),
    ],
)
def test_nothing_is_said_of(schedule):
    assert unreached(schedule, 20, 20) is None


@given(
    begin=st.one_of(st.floats(0, 1), st.integers(2, 30)),
    until=st.one_of(st.floats(0, 1), st.integers(2, 30)),
    total=st.integers(1, 25),
)
def test_a_ramp_of_which_nothing_is_said_goes_from_start_to_end(begin, until, total):
    try:
        ramp = Linear(1, 2, begin, until)
    except ValueError:
        return  # until before begin in the same unit
    if unreached(ramp, total, total) is None:
        values = [ramp.value(step, total) for step in range(total + 1)]
        assert values == sorted(values)
        assert values[-1] == 2
        assert values[0] == 1 or until == begin == 0 or ramp.until * total < 1
    else:
        assert unreached(ramp, total, total) != ""


def test_a_scheduler_of_ones_own_loop_tells_it_once():
    loss = CROLoss("exp", num_items=40)
    with pytest.warns(UserWarning, match="LossScheduler, schedule of 'alpha': until=40 is not") as caught:
        LossScheduler(loss, 20, alpha=Linear(0.5, 1, until=40))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LossScheduler(loss, 20, alpha=Linear(0.5, 1, until=20))
