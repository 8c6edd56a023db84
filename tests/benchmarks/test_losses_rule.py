"""The rule's constants are those that its trials give, and what tune chooses is replayed from rows."""

from __future__ import annotations

import pytest

from benchmarks.common.rows import Row, Settings
from benchmarks.losses.choosing import grid, trial
from benchmarks.losses.datasets import NS, PARTS
from benchmarks.losses.landscape import CORNERS, Landscape
from benchmarks.losses.rule import RESULTS, Regrets, landscapes, regrets_of, report
from benchmarks.losses.sides import TRIALS
from benchmarks.losses.tuned import MissingTrialError, trial_of, tuned
from lightning_croloss.losses.rule import LINES
from lightning_croloss.tuning import portfolio


def row_of(run: Settings, values: list[float]) -> Row:
    return {"settings": run, "valid": {str(n): [value * n / 500 for value in values] for n in NS}}


def peak(temperature: float, at: float) -> float:
    """A landscape with one top."""
    return 0.5 - abs(temperature - at)


def rows_with_tops(softplus: float, exp: float) -> list[Row]:
    tops = {"softplus": softplus, "exp": exp}
    return [
        row_of(
            trial("toys", "CROLoss", setting), [peak(setting["temperature"], tops[setting["kernel"]])] * PARTS
        )
        for setting in CORNERS
    ]


def test_between_trials_the_landscape_is_linear_and_beyond_them_it_falls() -> None:
    landscape = Landscape(rows_with_tops(0.1, 0.1), num_items=1000)
    assert landscape.best[20] == pytest.approx(0.5 * 20 / 500)
    assert landscape.value("softplus", 1.0, 0.1, 20) == pytest.approx(0.5 * 20 / 500)
    middle = (0.075 * 0.1) ** 0.5
    assert landscape.value("softplus", 1.0, middle, 500) == pytest.approx((0.475 + 0.5) / 2)
    assert landscape.value("softplus", 1.0, 0.28, 500) == pytest.approx(0.46 / 2)
    with pytest.raises(ValueError, match="no trial of the kernel sigmoid"):
        landscape.value("sigmoid", 1.0, 0.1, 20)


def test_softmax_is_exp_with_alpha_1() -> None:
    rows = [*rows_with_tops(0.1, 0.1), row_of(trial("toys", "softmax", {"temperature": 0.1}), [0.3] * PARTS)]
    landscape = Landscape(rows, num_items=1000)
    assert landscape.value("exp", 1.0, 0.1, 500) == pytest.approx(0.3)
    assert landscape.value("exp", 1.1, 0.1, 500) == pytest.approx(0.4)


def test_beginnings_and_other_architectures_are_no_trials() -> None:
    rows = rows_with_tops(0.1, 0.1)
    short = row_of(trial("toys", "CROLoss", CORNERS[0], parts=2), [0.9, 0.9])
    other = row_of(trial("toys", "CROLoss", CORNERS[0], "SASRec"), [0.9] * PARTS)
    assert Landscape([*rows, short, other], 1000).best[500] == pytest.approx(0.5)


def test_the_fit_finds_the_tops() -> None:
    both = {name: Landscape(rows_with_tops(0.1, 0.1), size) for name, size in (("a", 5000), ("b", 50_000))}
    regrets = Regrets(both)
    for kernel in ("softplus", "exp"):
        lines = regrets.fit(kernel)
        for landscape in both.values():
            assert max(regrets_of(landscape, kernel, lines)) < 0.05
    far = {**both, "c": Landscape(rows_with_tops(0.06, 0.07), 20_000)}
    without = regrets_of(far["c"], "softplus", Regrets(far).fit("softplus", "c"))
    assert max(without) > max(regrets_of(far["c"], "softplus", Regrets(far).fit("softplus")))


@pytest.mark.slow
def test_the_constants_of_the_rule_are_those_of_the_committed_rows() -> None:
    assert report() == (RESULTS / "rule.md").read_text()
    regrets = Regrets(landscapes())
    for kernel in ("softplus", "exp"):
        assert regrets.fit(kernel) == LINES[kernel]


def test_tune_chooses_among_its_portfolio_as_its_search_does() -> None:
    candidates = portfolio((20,))
    chosen, early = candidates[3], candidates[1]
    rows = []
    for candidate in candidates:
        side, setting = trial_of(candidate)
        assert setting in TRIALS[side]  # else the comparison would lack it
        values = [0.2 + 0.01 * part for part in range(PARTS)]
        if candidate is chosen:
            values = [value + 0.05 for value in values]
        if candidate is early:
            values = [0.9] + [0.1] * (PARTS - 1)
        rows.append(row_of(trial("toys", side, setting), values))
    rows += [row_of(run, [0.95] * PARTS) for run in grid("toys", "PSL")]  # not in the portfolio
    side, setting, plan = tuned(rows, 20)
    assert (side, setting) == trial_of(early)  # the best validation is what a fit keeps
    assert plan.cost <= 2.5
    side, setting, _ = tuned(rows, 20, [each for each in candidates if each is not early])
    assert (side, setting) == trial_of(chosen)
    with pytest.raises(MissingTrialError):
        tuned(rows[1:], 20)


@pytest.mark.parametrize("n", NS)
def test_every_candidate_of_the_portfolio_is_a_trial_of_the_comparison(n: int) -> None:
    for candidate in portfolio((n,)):
        side, setting = trial_of(candidate)
        assert setting in TRIALS[side]
