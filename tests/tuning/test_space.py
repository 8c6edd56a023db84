"""The space of a search, and what is drawn from it."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome, Validation
from lightning_croloss.tuning.space import Choices, Range, drawn, read_space

LOSSES = [
    Candidate(f"temperature {each:g}", {"class_path": "CROLoss", "init_args": {"temperature": each}})
    for each in (0.1, 0.2)
]


@given(
    low=st.floats(1e-6, 1e3),
    factor=st.floats(1.001, 1e4),
    log=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_draw_lies_in_its_range(low: float, factor: float, log: bool, seed: int) -> None:
    value = Range(low, low * factor, log).draw(random.Random(seed))
    assert low <= value <= low * factor


def test_integers_and_steps() -> None:
    source = random.Random(0)
    whole = {Range(2, 5).draw(source) for _ in range(200)}
    assert whole == {2, 3, 4, 5}
    assert {type(each) for each in whole} == {int}
    assert {Range(8, 64, step=28).draw(source) for _ in range(100)} == {8, 36, 64}
    assert Range(8, 64, step=28).size == 3
    found = {Range(0.1, 0.5, step=0.2).draw(source) for _ in range(100)}
    assert sorted(found) == pytest.approx([0.1, 0.3, 0.5])
    logarithms = [math.log(Range(1, 1000, log=True).draw(source)) for _ in range(500)]
    assert sum(each < math.log(1000) / 2 for each in logarithms) == pytest.approx(250, abs=50)


def test_a_space_is_read() -> None:
    found = read_space({"a.b": [1, "x"], "c": {"low": 1, "high": 9, "step": 2}})
    assert found == {"a.b": Choices((1, "x")), "c": Range(1, 9, False, 2)}
    assert read_space(None) == {}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([], "has no values"),
        ({"low": 0, "high": 1, "log": True}, "low must be above 0 with log"),
        ({"low": 0, "high": 1, "log": 3}, "log must be true or false"),
        ({"low": "a", "high": 1}, "low must be a number"),
        ({"low": 0, "high": 1, "step": -1}, "step must be above 0"),
        ({"low": 0, "high": 1, "stp": 1}, "did you mean 'step'?"),
    ],
)
def test_mistakes_in_a_space(entry: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"tune\.space: field") as caught:
        read_space({"field": entry})
    assert said in str(caught.value)


def test_no_setting_comes_twice() -> None:
    space = read_space({"model.init_args.width": [8, 16, 32]})
    found = list(drawn(LOSSES, space, 30, seed=1))
    assert len(found) == 6  # all there are
    assert len({each.name for each in found}) == 6
    assert found[0].name.startswith("temperature 0.1, width ")
    assert {each.fields["model.init_args.width"] for each in found} == {8, 16, 32}
    wide = read_space({"lr": {"low": 1e-4, "high": 1e-1, "log": True}})
    assert list(drawn(LOSSES, wide, 5, 1)) == list(drawn(LOSSES, wide, 5, 1))
    assert list(drawn(LOSSES, wide, 5, 1)) != list(drawn(LOSSES, wide, 5, 2))


def test_tpe_goes_where_it_is_better() -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    from lightning_croloss.tuning.tpe import proposing

    objective = Objective("recall", {100: 1.0})
    space = read_space({"width": {"low": 8, "high": 64}, "kind": ["a", "b"]})

    def came_of(candidate: Candidate) -> Outcome:
        arguments = dict(candidate.loss or {})["init_args"]
        value = 1 - abs(arguments["temperature"] - 0.1) + 0.5 * (candidate.fields.get("kind") == "b")
        return Outcome(5, (Validation(5, {"val/recall@100": value}),))

    propose = proposing(space, [objective], None, seed=3)
    tried = [(candidate, came_of(candidate)) for candidate in LOSSES]
    for _ in range(20):
        candidate = propose(tried)
        assert candidate is not None
        assert candidate == propose(tried)  # what came before decides alone
        assert candidate.name not in {each.name for each, _ in tried}
        assert 8 <= candidate.fields["width"] <= 64
        tried.append((candidate, came_of(candidate)))
    kinds = [candidate.fields["kind"] for candidate, _ in tried[-10:]]
    assert kinds.count("b") >= 7
    chosen = proposing({}, [objective], LOSSES, seed=3)(tried[:1])
    assert chosen is not None
    assert chosen.loss == LOSSES[1].loss
    assert proposing({}, [objective], LOSSES, seed=3)(tried[:2]) is None  # no other is left
