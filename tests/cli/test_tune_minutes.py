"""``croloss tune --config ... --minutes``: the time holds all that the command does; nothing is trained."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lightning_croloss.cli.tune.budget import Budget, Speed
from lightning_croloss.tuning.plan import FitLength
from tests.cli.tuning import Clocked, NoMirrors, clocked, tune, write

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
    clocked.now = time.monotonic()
    tune(*words)
    assert seeds_of("n10") == [42, 43, 44]
    assert "of 3 seeds" not in capsys.readouterr().err


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
