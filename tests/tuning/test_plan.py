"""The plan of a search: its cost, whatever the fit is like."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.tuning.plan import FitLength, make_plan, plan_cost, plan_for_all


@st.composite
def lengths(draw):
    steps = draw(st.integers(1, 600))
    every = draw(st.integers(1, steps + 10))
    validations = tuple(range(every, steps + 1, every))
    ends = draw(st.none() | st.integers(1, steps + 10))
    resumable = None if ends is None else tuple(range(ends, steps + 1, ends))
    return FitLength(steps, validations, draw(st.integers(1, 500)), resumable)


def walked(plan, length, entering):
    """Count what a plan costs batch by batch."""
    total, begin = 0, 0
    validated = set(length.validations)
    for rung, number in zip(plan.rungs, entering, strict=True):
        for step in range(begin + 1, rung.step + 1):
            total += number * (1 + (step in validated) * length.validation_batches)
        last = rung is plan.rungs[-1]
        if (last and not validated) or (not last and rung.step not in validated):
            total += number * length.validation_batches
        begin = rung.step
    return total / (length.steps + length.validation_batches * max(1, len(validated)))


@settings(max_examples=60)
@given(st.integers(1, 40), lengths(), st.floats(1.0, 6.0), st.integers(1, 4))
def test_the_bound_holds_always(number, length, fits, objectives):
    plan = make_plan(number, length, fits, objectives)
    assert plan.cost <= fits + objectives - 1
    assert plan.cost == pytest.approx(walked(plan, length, plan.entering()))
    assert plan.cost == plan_cost(plan.num_candidates, plan.rungs, length)
    alone = make_plan(number, length, fits)
    assert alone.cost <= fits
    # somebody finishes, each further objective adds one at most, and nobody comes back
    entering = plan.entering()
    assert 1 <= entering[-1] <= number
    assert all(later <= earlier for earlier, later in itertools.pairwise(entering))
    assert 1 <= plan.num_candidates <= number
    # the rungs are in order, the last one is the end, and each can be taken up again
    steps = [rung.step for rung in plan.rungs]
    assert steps[-1] == length.steps
    assert all(0 < earlier < later for earlier, later in itertools.pairwise(steps))
    if length.resumable is not None:
        assert set(steps[:-1]) <= set(length.resumable)


@settings(max_examples=20)
@given(st.integers(1, 12), lengths(), st.integers(1, 3))
def test_a_budget_grows_until_it_holds_all(number, length, objectives):
    plan = plan_for_all(number, length, 2.5, objectives)
    quarters = itertools.count(10)
    fits = next(each / 4 for each in quarters if make_plan(number, length, each / 4, objectives) == plan)
    assert plan.num_candidates == number
    if fits > 2.5:
        assert make_plan(number, length, fits - 0.25, objectives).num_candidates < number


def test_many_candidates_are_planned_at_once():
    length = FitLength(3000, tuple(range(300, 3001, 300)), 40)
    assert plan_for_all(400, length).num_candidates == 400
    assert make_plan(2000, length).num_candidates == 23


def test_seven_candidates_of_eight_epochs():
    plan = make_plan(7, FitLength(800, tuple(range(100, 801, 100)), 10))
    assert [(rung.step, rung.keep) for rung in plan.rungs] == [(100, 4), (200, 2), (400, 1), (800, 1)]
    assert plan.entering() == [7, 4, 2, 1]
    assert plan.cost == pytest.approx(2.375)


def test_rungs_move_to_validations_that_are_near():
    """2.5 epochs would be in the midst of one, where a validation would be paid for besides."""
    plan = make_plan(7, FitLength(1000, tuple(range(100, 1001, 100)), 50))
    assert [rung.step for rung in plan.rungs] == [100, 300, 500, 1000]
    assert not any(rung.validates for rung in plan.rungs)


def test_validations_far_apart_are_paid_for():
    plan = make_plan(7, FitLength(1000, (1000,), 10))
    assert [rung.step for rung in plan.rungs] == [125, 250, 500, 1000]
    assert [rung.validates for rung in plan.rungs] == [True, True, True, False]
    assert plan.cost == pytest.approx((2375 + 10 * (7 + 4 + 2 + 1)) / 1010)


def test_dear_validations_leave_fewer_rungs_and_then_fewer_candidates():
    plans = [make_plan(7, FitLength(1000, (1000,), batches)) for batches in (10, 100, 1000)]
    assert [len(plan.rungs) for plan in plans] == [4, 2, 1]
    assert [plan.num_candidates for plan in plans] == [7, 7, 2]
    assert all(plan.cost <= 2.5 for plan in plans)


def test_a_larger_budget_judges_later_and_lets_more_finish():
    length = FitLength(800, tuple(range(100, 801, 100)), 10)
    plans = [make_plan(7, length, fits) for fits in (2.5, 3.0, 5.0, 7.0)]
    assert [plan.rungs[0].step for plan in plans] == [100, 200, 400, 800]
    assert [plan.entering()[-1] for plan in plans] == [1, 1, 3, 7]


def test_two_candidates_within_the_budget_both_finish():
    plan = make_plan(2, FitLength(100, (100,), 5))
    assert [rung.step for rung in plan.rungs] == [100]
    assert plan.cost == 2.0


def test_an_epoch_that_cannot_be_taken_up_holds_no_rung():
    plan = make_plan(7, FitLength(100, (100,), 5, resumable=(100,)))
    assert (plan.num_candidates, len(plan.rungs)) == (2, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_candidates": 0}, "num_candidates must be at least 1, got 0"),
        ({"fits": 0.9}, "fits must be at least 1"),
        ({"fits": float("nan")}, "fits must be at least 1"),
        ({"num_objectives": 0}, "num_objectives must be at least 1"),
        ({"length": FitLength(0, (), 1)}, "at least 1 training step"),
    ],
)
def test_what_has_no_plan_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make_plan(**{"num_candidates": 7, "length": FitLength(10, (10,), 1), **change})
