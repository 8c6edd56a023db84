"""``croloss tune --config ... --minutes``: the time holds all that the command does; nothing is trained."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lightning_croloss.cli.tune.budget import FITS, Budget, Speed
from lightning_croloss.cli.tune.schedule import within
from lightning_croloss.cli.tune.shorter import shortened
from lightning_croloss.tuning.plan import FitLength, make_plan
from tests.cli.tuning import Clocked, NoMirrors, clocked, rungs, tune, write

__all__ = ["clocked"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_croloss.cli.tune.results.plot_curves", lambda *_, **__: None)
    monkeypatch.setattr("lightning_croloss.cli.tune.progress.Mirrors", NoMirrors)


def seeds_of(label: str) -> list[int]:
    """Return the seeds that were compared."""
    found: list[int] = json.loads(Path(f"out/seeds_{label}.json").read_text())["seeds"]
    return found


@pytest.mark.parametrize(
    ("ns", "minutes"), [(["10"], 60), (["10"], 14), (["5", "10"], 80)], ids=["60", "14", "two N"]
)
def test_seeds_are_trained_within_the_time(
    clocked: Clocked, capsys: pytest.CaptureFixture[str], ns: list[str], minutes: int
) -> None:
    # a fit takes 64 · 10 + 4 · 20 + 5 seconds: two more do not fit behind a search of 60 minutes, nor of 14
    tune(*write(), "--n", *ns, "--minutes", str(minutes), "--seeds", "3", "--output", "out")
    assert clocked.now - clocked.began <= 60 * minutes
    for n in ns:
        assert seeds_of(f"n{n}") == [42, 43, 44]
    assert "of 3 seeds" not in capsys.readouterr().err


def test_seeds_without_time_are_named_and_the_same_command_goes_on_with_them(
    clocked: Clocked, capsys: pytest.CaptureFixture[str]
) -> None:
    clocked.slower = 2.5
    words = [*write(), "--n", "10", "--minutes", "60", "--seeds", "3", "--output", "out"]
    tune(*words)
    assert clocked.now - clocked.began <= 3600
    told = capsys.readouterr().err
    assert "--seeds: there is no time for 2 of 3 seeds of recall@10: the same command goes on" in told
    assert "croloss fit --config out/best_n10.yaml --seeds 43,44" in told
    assert not Path("out/seeds_n10.json").exists()
    for _ in range(2):
        began = clocked.now
        tune(*words)
        assert clocked.now - began <= 3600
        assert seeds_of("n10")[:2] == [42, 43]
    assert seeds_of("n10") == [42, 43, 44]
    assert "of 3 seeds" in capsys.readouterr().err  # of the second command


def test_a_seed_that_the_time_cuts_short_is_told(
    clocked: Clocked, capsys: pytest.CaptureFixture[str]
) -> None:
    clocked.seeds_slower = 3.0
    tune(*write(), "--n", "10", "--minutes", "60", "--seeds", "2", "--output", "out")
    assert clocked.now - clocked.began <= 3600
    assert "seed 43 has had" in capsys.readouterr().err


def test_all_that_comes_after_the_search_has_its_time() -> None:
    length = FitLength(64, (16, 32, 48, 64), 2)
    speed = Speed(step=10.0, validation=20.0, other=5.0)

    def left(**more: int) -> float:
        return Budget(60, time.monotonic(), speed, length, more.pop("processes", 1), **more).left

    fit = speed.segment(length, 0, 64, False)
    assert left() - left(objectives=3) >= 2 * (speed.validation + speed.other)
    assert left() - left(seeds=2) >= 2 * fit
    assert left(objectives=2) - left(objectives=2, seeds=2) >= 4 * fit
    assert left() - left(seeds=2, processes=2) < 2 * fit


def test_a_search_that_goes_on_gives_up_the_worst(clocked: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier command has found counts when time is short, and not only what this one has."""
    words = [*write(), "--n", "10", "--minutes", "33", "--output", "out"]

    def interrupted(task: Mapping[str, Any]) -> dict[str, Any]:
        if "candidates/02" in task["config"]:  # the last one of the rung
            raise KeyboardInterrupt
        return Clocked.train(clocked, task)

    with monkeypatch.context() as patch:
        patch.setattr(clocked, "train", interrupted)
        with pytest.raises(SystemExit):
            tune(*words)
    clocked.slower = 4.0
    tune(*words)
    (given_up,) = (row for row in rungs("out") if row["error"])
    assert given_up["candidate"] == "0"
    assert given_up["error"] == "given up for want of time"
    assert Path("out/candidates/01/best.json").exists()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("before_it_slows", [1, 3, 9])
def test_what_slows_in_the_midst_of_a_rung_is_noticed_there(
    clocked: Clocked, monkeypatch: pytest.MonkeyPatch, sampler: str, before_it_slows: int
) -> None:
    tasks = itertools.count(1)

    def train(task: Mapping[str, Any]) -> dict[str, Any]:
        if next(tasks) > before_it_slows:
            clocked.slower = 6.0
        return Clocked.train(clocked, task)

    monkeypatch.setattr(clocked, "train", train)
    words = [] if sampler == "random" else ["--sampler", "tpe", "--trials", "14"]
    space = {"model.init_args.history_dropout": {"low": 0.0, "high": 0.5}}
    tune(*write(tune={"space": space}), "--n", "10", "--minutes", "60", "--output", "out", *words)
    assert clocked.now - clocked.began <= 3600
    tried = [row for row in rungs("out") if row["rung"] == "1" and not row["error"]]
    assert before_it_slows <= len(tried) < 14
    assert Path("out/best_n10.ckpt").exists()


CONFIG = {"trainer": {"max_epochs": 400}}
LENGTH = FitLength(6800, tuple(range(17, 6801, 17)), 1, batches_per_epoch=17)
#: Minutes of a whole fit, where there are 60.
FIT = (5, 20, 30, 45, 58, 62, 90, 180, 900)


@pytest.mark.parametrize(
    ("processes", "objectives", "seeds", "number"),
    list(itertools.product((1, 2), (1, 2), (0, 2), (1, 4, 7, 20))),
)
def test_short_time_means_shorter_fits_and_no_narrower_search(
    processes: int, objectives: int, seeds: int, number: int
) -> None:
    wanted = make_plan(number, LENGTH, FITS, objectives)
    for minutes in FIT:
        step = 60 * minutes / LENGTH.cost
        speed = Speed(step=step, validation=step, other=5.0)
        budget = Budget(60, time.monotonic(), speed, LENGTH, processes, objectives, seeds)
        found = within(budget, number, objectives, None, CONFIG)
        assert found.plan.num_candidates >= min(number, wanted.num_candidates)
        budget.length = found.length
        assert budget.seconds(found.plan) <= budget.left + 1.0  # the test itself takes a moment
        if found.fields:  # there is no time for another epoch
            share = (found.fields["max_epochs"] + 1.001) / 400
            _, budget.length = shortened(CONFIG, LENGTH, share)
            more = make_plan(wanted.num_candidates, budget.length, FITS, objectives)
            assert share > 1 or budget.seconds(more) > budget.left


def test_of_hardly_any_time_most_is_training() -> None:
    """Fourteen runs of which each loads data for a minute leave nothing to train in of fifteen."""
    step = 60 * 60 / LENGTH.cost
    speed = Speed(step=step, validation=step, other=60.0)
    numbers = []
    for minutes in (5, 10, 15, 20, 40, 60):
        budget = Budget(minutes, time.monotonic(), speed, LENGTH, 1, 1, 2)
        found = within(budget, 7, 1, None, CONFIG)
        numbers.append(found.plan.num_candidates)
        runs = sum(found.plan.entering())
        assert runs == 1 or 60.0 * runs <= 0.5 * 60 * minutes
    assert numbers[0] == 1
    assert numbers == sorted(numbers)
    assert numbers[-1] == 7
