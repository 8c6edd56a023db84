"""Successive halving on made-up curves."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.tuning import Candidate, Objective, SearchFailedError
from lightning_croloss.tuning.outcome import Outcome, Validation
from lightning_croloss.tuning.plan import FitLength, Plan, Rung, make_plan
from lightning_croloss.tuning.search import best_of, search

LENGTH = FitLength(80, tuple(range(10, 81, 10)), 2)
AT_10 = Objective(weights={10: 1.0})
AT_20 = Objective(weights={20: 1.0})


def named(number):
    return [Candidate(f"candidate {index}") for index in range(number)]


class Curves:
    """Executes jobs on curves: for each candidate its recall@10 and @20 after each ten steps."""

    def __init__(self, curves, errors=(), ends=(), order=None):
        self.curves, self.errors, self.ends, self.order = curves, dict(errors), dict(ends), order
        self.steps, self.left, self.calls = {}, [], []

    def __call__(self, jobs):
        self.calls.append([(job.number, job.step) for job in jobs])
        jobs = list(jobs)
        if self.order is not None:
            self.order.shuffle(jobs)
        for job in jobs:
            if self.errors.get(job.number, 99) <= job.rung:
                yield job, Outcome(self.steps.get(job.number, 0), (), error="the loss is nan")
                continue
            end = min(job.step, self.ends.get(job.number, job.step))
            assert end > self.steps.get(job.number, 0)
            self.steps[job.number] = end
            curve = self.curves[job.number][: end // 10]
            validations = [
                Validation(10 * (index + 1), {"val/recall@10": a, "val/recall@20": b})
                for index, (a, b) in enumerate(curve)
            ]
            yield (
                job,
                Outcome(
                    end, tuple(validations), job.last or end == self.ends.get(job.number), None, float(end)
                ),
            )


def test_the_better_half_goes_on():
    plan = make_plan(7, LENGTH)
    curves = [[(value / 10 + step / 100, 0.0) for step in range(8)] for value in (3, 1, 7, 2, 6, 5, 4)]
    executed = Curves(curves)
    left = []
    choice = search(named(7), plan, [AT_10], executed, leave=left.append)
    assert executed.calls == [
        [(number, 10) for number in range(7)],
        [(number, 20) for number in (2, 4, 5, 6)],
        [(2, 40), (4, 40)],
        [(2, 80)],
    ]
    assert choice.winners == (2,)
    assert choice.kept == ((2, 4, 5, 6), (2, 4), (2,), (2,))
    assert sorted(left) == [0, 1, 3, 4, 5, 6]
    assert choice.latest(2).value(AT_10) == pytest.approx(0.77)
    assert choice.latest(5).step == 20


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 3), st.floats(1.0, 4.0))
def test_the_outcome_is_independent_of_the_order_and_within_the_bound(seed, number, objectives, fits):
    draw = random.Random(seed)
    curves = [[(draw.random(), draw.random()) for _ in range(8)] for _ in range(number)]
    ends = {index: draw.randrange(10, 81, 10) for index in range(number) if draw.random() < 0.3}
    wanted = [AT_10, AT_20, Objective(weights={10: 1.0, 20: 1.0})][:objectives]
    plan = make_plan(number, LENGTH, fits, objectives)
    executed = Curves(curves, ends=ends)
    choice = search(named(number), plan, wanted, executed)
    again = search(named(number), plan, wanted, Curves(curves, ends=ends, order=draw))
    assert choice == again
    spent = sum(steps + 2 * (steps // 10) for steps in executed.steps.values())
    assert spent / LENGTH.cost <= plan.cost + 1e-9 <= fits + objectives - 1 + 1e-9
    for winner, objective in zip(choice.winners, wanted, strict=True):
        assert choice.latest(winner).finished
        assert choice.latest(winner).value(objective) == max(
            outcome.value(objective) for outcome in choice.outcomes[-1].values()
        )


def test_several_objectives_share_the_runs():
    """One is ahead at 10, another at 20: both finish, and the third is kept by neither."""
    curves = [[(0.3, 0.1)] * 8, [(0.2, 0.5)] * 8, [(0.25, 0.4)] * 8]
    plan = Plan(3, (Rung(40, 2), Rung(80, 2)), 2.5)
    choice = search(named(3), plan, [AT_10, AT_20], Curves(curves))
    assert choice.kept[0] == (0, 1)
    assert choice.winners == (0, 1)


def test_of_equals_the_first_goes_on():
    curves = [[(0.5, 0.5)] * 8] * 4
    choice = search(named(4), Plan(4, (Rung(40, 2), Rung(80, 1)), 3.0), [AT_10], Curves(curves))
    assert choice.kept[0] == (0, 1)
    assert choice.winners == (0,)


def test_what_fails_is_out_and_the_others_go_on():
    curves = [[(0.9 - number / 10, 0.0)] * 8 for number in range(4)]
    plan = Plan(4, (Rung(10, 3), Rung(40, 2), Rung(80, 1)), 2.5)
    choice = search(named(4), plan, [AT_10], Curves(curves, errors={0: 0, 1: 2}))
    assert choice.kept == ((1, 2, 3), (1, 2), (2,))
    assert choice.winners == (2,)
    assert choice.latest(0).error == "the loss is nan"
    with pytest.raises(SearchFailedError, match=r"all 4 candidates failed; 'candidate 0': the loss is nan"):
        search(named(4), plan, [AT_10], Curves(curves, errors=dict.fromkeys(range(4), 0)))
    with pytest.raises(SearchFailedError, match=r"all 2 candidates that were left failed; 'candidate 0'"):
        search(named(4), plan, [AT_10], Curves(curves, errors={0: 2, 1: 2}))


def test_a_fit_that_has_ended_is_compared_on_without_taking_a_turn():
    """Its best is beaten by nobody, though it was not among those that went on."""
    curves = [
        [(0.1 * step, 0.0) for step in range(8)],
        [(0.65, 0.0)] * 8,
        [(0.02 * step, 0.0) for step in range(8)],
    ]
    plan = Plan(3, (Rung(20, 2), Rung(40, 1), Rung(80, 1)), 2.5)
    executed = Curves(curves, ends={1: 10})
    choice = search(named(3), plan, [AT_10], executed)
    assert executed.calls[1:] == [[(0, 40), (2, 40)], [(0, 80)]]
    assert choice.winners == (0,)
    choice = search(
        named(3), plan, [AT_10], Curves([curves[0][:6] + [(0.1, 0.0)] * 2, *curves[1:]], ends={1: 10})
    )
    assert choice.winners == (1,)


def test_more_are_proposed_after_the_first_rung():
    curves = [[(value / 10, 0.0)] * 8 for value in (1, 2, 3, 4, 5)]
    asked = []

    def propose(so_far):
        asked.append([(candidate.name, outcome.value(AT_10)) for candidate, outcome in so_far])
        return Candidate(f"proposed {len(asked)}") if len(asked) < 3 else None

    executed = Curves(curves)
    plan = Plan(6, (Rung(10, 2), Rung(80, 1)), 2.5)
    choice = search(named(3), plan, [AT_10], executed, propose)
    assert executed.calls == [[(0, 10), (1, 10), (2, 10)], [(3, 10)], [(4, 10)], [(3, 80), (4, 80)]]
    assert [len(each) for each in asked] == [3, 4, 5]
    assert asked[1][-1] == ("proposed 1", 0.4)
    assert choice.candidates[choice.winners[0]].name == "proposed 2"


def test_what_cannot_be_searched_is_refused():
    plan = make_plan(2, LENGTH)
    with pytest.raises(ValueError, match="candidates is empty"):
        search([], plan, [AT_10], Curves([]))
    with pytest.raises(ValueError, match="two have the name 'same'"):
        search([Candidate("same"), Candidate("same")], plan, [AT_10], Curves([]))
    with pytest.raises(ValueError, match="objectives is empty"):
        search(named(2), plan, [], Curves([]))


def test_the_best_counts_and_not_the_latest():
    own = [Validation(10, {"val/recall@10": 0.5}), Validation(20, {"val/recall@10": 0.4})]
    apart = Validation(25, {"val/recall@10": 0.6}, apart=True)
    assert Outcome(20, tuple(own)).value(AT_10) == 0.5
    assert Outcome(25, (*own, apart)).value(AT_10) == 0.6
    # at a later rung no checkpoint of it is left
    assert Outcome(30, (*own, apart, Validation(30, {"val/recall@10": 0.3}))).value(AT_10) == 0.5
    assert Outcome(25, (*own, apart), error="no").value(AT_10) == -float("inf")
    not_a_number = Outcome(10, (Validation(10, {"val/recall@10": float("nan")}),))
    assert best_of({0: not_a_number, 1: Outcome(20, tuple(own))}, [AT_10], 1) == [1]
    outcome = Outcome(25, (*own, apart), True, None, 1.5)
    assert Outcome.from_plain(outcome.to_plain()) == outcome
