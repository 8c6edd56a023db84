"""Several runs by ``croloss fit --seeds``: each equals the single one, and nothing is left behind."""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss.cli import main, seeds
from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.cli.run_note import NOTE
from lightning_croloss.cli.seed_results import SeedRun, format_seeds, summarize
from lightning_croloss.cli.seeds import run_process, seeds_of, without_seeds
from tests.cli.cases import PACKAGES, error_of
from tests.cli.small import FIT, NO_PLOT, newest

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]


# ---------------------------------------------------------------------- the option


@pytest.mark.parametrize(
    ("text", "first", "expected"),
    [
        ("3", 42, [42, 43, 44]),
        ("2", 0, [0, 1]),
        ("2", None, [42, 43]),
        ("2", True, [42, 43]),  # a seed that nobody knows
        ("5,1,3", 42, [5, 1, 3]),
        (f"0,{2**32 - 1}", 42, [0, 2**32 - 1]),
    ],
)
def test_the_seeds(text: str, first: object, expected: list[int]) -> None:
    assert seeds_of(text, first) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a number of seeds"),
        ("three", "got 'three'"),
        ("1,", "got '1,'"),
        ("1.5", "got '1.5'"),
        ("1", "asks for 1 runs, and a deviation needs two"),
        ("0", "asks for 0 runs"),
        ("-3", "asks for 0 runs"),
        ("2023", "asks for 2,023 runs: for the run with seed 2023 give --seed_everything 2023"),
        (f"{10**15}", "asks for 1,000,000,000,000,000 runs"),
        ("1,2,1", "seed 1 is given twice"),
        ("1,-2", "must be 0 … 4294967295, got -2"),
        (f"1,{2**32}", "got 4294967296"),
    ],
)
def test_what_is_no_value(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^--seeds") as error:
        seeds_of(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "words", [["--seeds", "3", "--a=1"], ["--seeds=3", "--a=1"], ["--a=1", "--seeds", "3"]]
)
def test_the_option_is_taken_out(words: list[str]) -> None:
    assert without_seeds(words) == ("3", ["--a=1"])
    with pytest.raises(ValueError, match="--seeds is given 2 times"):
        without_seeds([*words, "--seeds=2"])


# ---------------------------------------------------------------------- what the runs cannot have


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--ckpt_path=last"], "--ckpt_path goes on with one run, and --seeds 2 begins new ones"),
        (["--config=resumes.yaml"], "--ckpt_path goes on with one run"),
        (["--test_after_fit=false"], "leave test_after_fit=false out"),
        (["--trainer.fast_dev_run=2"], "leave trainer.fast_dev_run out"),
        (["--metrics_per_user=each.csv"], "each run would write metrics_per_user"),
        (["--trainer.logger.version=0"], "a version of its own: leave the logger's version out"),
        (["--seeds=1,2", "--seed_everything=3"], "leave --seed_everything out"),
        (["--seeds=2", "--seeds=3"], "--seeds is given"),
        (["--model.nss=[3]"], "nss"),
    ],
)
def test_refused_before_the_first_run(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("resumes.yaml").write_text(yaml.safe_dump({"ckpt_path": "x.ckpt"}))
    monkeypatch.setattr(seeds, "run_process", None)
    own = [] if "--seeds" in " ".join(given) else ["--seeds=2"]
    assert said in error_of(capsys, "fit", *FIT, *own, *given)
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", seeds.LAUNCHED)
def test_not_within_a_launcher(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "4")
    said = error_of(capsys, "fit", *FIT, "--seeds=2")
    assert said.startswith("--seeds starts each run itself, and cannot be one of the 4 processes")


def test_a_config_does_not_hold_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("seeds: 3")
    said = error_of(capsys, "fit", *FIT, "--config=mine.yaml")
    assert said.startswith("seeds: a config describes one run: give --seeds 3 as an option")
    assert "seeds" in error_of(capsys, "test", *FIT, "--seeds=3")


def test_one_run_does_not_take_it() -> None:
    with pytest.raises(ValueError, match="--seeds trains several runs"):
        run_fit([*FIT, "--seeds=3"])


# ---------------------------------------------------------------------- the runs

Program = Callable[[Sequence[str], Mapping[str, str]], int]


def in_this_process(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``fit`` here instead of in a process of its own."""
    os.environ[NOTE] = environment[NOTE]
    try:
        main(list(command[command.index("fit") :]))
    except SystemExit as left:
        return int(left.code or 0)
    finally:
        del os.environ[NOTE]
    return 0


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "run_process", in_this_process)


@pytest.mark.usefixtures("here")
def test_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *FIT, "--seeds", "3,5"])
    output = capsys.readouterr()
    assert "croloss: run 2 of 2: seed 5" in output.err
    folder = Path("runs/croloss/seeds_0")
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["3", "5"]
    assert [row["run"] for row in rows] == ["runs/croloss/version_0", "runs/croloss/version_1"]
    measured = [json.loads((Path(row["run"]) / "test_results.json").read_text()) for row in rows]
    values = [float(result["recall"]["10"]) for result in measured]
    assert [float(row["test/recall@10"]) for row in rows] == values
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["metrics"]["test/recall@10"] == {
        "mean": pytest.approx(statistics.fmean(values)),
        "deviation": pytest.approx(statistics.stdev(values)),
        "values": values,
    }
    expected = f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"
    assert expected in output.out.partition("test metrics   ")[2] or expected in output.out
    assert f"results:    {folder / 'results.csv'}" in output.out
    for row in rows:
        assert yaml.safe_load((Path(row["run"]) / "config.yaml").read_text())["seed_everything"] == int(
            row["seed"]
        )
    # the next ones have a folder of their own
    main(["fit", *FIT, "--seeds=2", "--seed_everything=3", "--trainer.logger=false"])
    assert json.loads(Path("seeds_0/summary.json").read_text())["seeds"] == [3, 4]
    assert (
        json.loads(Path("seeds_0/summary.json").read_text())["metrics"]["test/recall@10"]["values"][0]
        == values[0]
    )


@pytest.mark.usefixtures("here")
def test_a_run_that_fails_ends_the_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_second(command: Sequence[str], environment: Mapping[str, str]) -> int:
        return 3 if "--seed_everything=8" in command else in_this_process(command, environment)

    monkeypatch.setattr(seeds, "run_process", fails_second)
    with pytest.raises(SystemExit) as left:
        main(["fit", *FIT, "--seeds=7,8,9"])
    assert left.value.code == 3
    error = capsys.readouterr().err
    assert (
        "croloss: the run of seed 8 did not end; those before are in runs/croloss/version_0 (seed 7)" in error
    )
    assert "seed 9" not in error
    (row,) = csv.DictReader(Path("runs/croloss/seeds_0/results.csv").read_text().splitlines())
    assert row["seed"] == "7"
    assert not Path("runs/croloss/seeds_0/summary.json").exists()


@pytest.mark.usefixtures("here")
def test_runs_that_measure_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, "fit", *FIT, "--seeds=2", "--trainer.limit_test_batches=0")
    assert said.startswith("--seeds compares what the tests measure, which is nothing: trainer.limit_test")
    assert not Path("runs").exists()


@pytest.mark.slow
def test_each_equals_the_single_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes of their own, as a user has them."""
    monkeypatch.setenv("PYTHONPATH", PACKAGES)
    trained = [*FIT, "--model.dropout=0.3"]
    main(["fit", *trained, "--seeds=4,6"])
    main(["fit", *trained, "--seed_everything=6"])
    ours, alone = (
        torch.load(newest(f"runs/croloss/version_{version}/checkpoints/*.ckpt"), weights_only=True)
        for version in (1, 2)
    )
    assert ours["state_dict"].keys() == alone["state_dict"].keys()
    for name, value in alone["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
    results = [Path(f"runs/croloss/version_{version}/test_results.json").read_text() for version in (1, 2)]
    assert results[0] == results[1]
    configs = [Path(f"runs/croloss/version_{version}/config.yaml").read_text() for version in (1, 2)]
    assert configs[0] == configs[1]


# ---------------------------------------------------------------------- its processes


def test_a_command_that_ends() -> None:
    assert run_process([sys.executable, "-c", "raise SystemExit(7)"], os.environ) == 7
    assert run_process(["sh", "-c", "kill -KILL $$"], os.environ) == 137
    assert run_process(["sh", "-c", 'test "$MINE" = yes'], os.environ | {"MINE": "yes"}) == 0


@pytest.mark.usefixtures("heeding_signals")
@pytest.mark.parametrize(
    ("number", "error", "status"),
    [
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, 143),
        (signal.SIGHUP, SystemExit, 129),
    ],
)
def test_a_signal_ends_the_run_too(number: int, error: type[BaseException], status: int | None) -> None:
    """The command and what it has started, which answers in its own time."""
    ending = "trap 'sleep 0.3; echo ended > ended; exit 9' INT TERM HUP"
    script = f"{ending}; echo $$ > started; while :; do sleep 0.05; done"
    before = signal.getsignal(signal.SIGTERM)

    def send() -> None:
        while not (Path("started").exists() and Path("started").read_text().strip()):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(error) as left:
        run_process(["bash", "-c", script], os.environ)
    sender.join()
    assert Path("ended").read_text() == "ended\n"
    if status is not None:
        assert left.value.code == status  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.killpg(int(Path("started").read_text()), 0)
    assert signal.getsignal(signal.SIGTERM) is before


# ---------------------------------------------------------------------- figures


def test_mean_and_deviation() -> None:
    runs = [
        SeedRun(
            seed, f"run {seed}", {"test/recall@5": value, "test/recall@10": 1.0, "test/excluded_targets": 2.0}
        )
        for seed, value in ((1, 0.1), (2, 0.2), (3, 0.6))
    ]
    found: dict[str, Any] = summarize(runs)
    assert found["metrics"]["test/recall@5"]["mean"] == pytest.approx(0.3)
    assert found["metrics"]["test/recall@5"]["deviation"] == pytest.approx(0.07**0.5)  # with n - 1
    assert found["metrics"]["test/excluded_targets"] == {"mean": 2.0, "deviation": 0.0, "values": [2.0] * 3}
    head, _, row, note = format_seeds(runs).splitlines()
    assert head.split() == ["test", "metrics", "@5", "@10"]
    assert " ".join(row.split()) == "recall 0.3000 ± 0.2646 1.0000 ± 0.0000"
    assert note == "mean ± standard deviation of 3 runs, seeds 1, 2, 3"
