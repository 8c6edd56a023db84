"""``croloss tune`` with models that are trained: what it hands back is a fit, whatever ended it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_croloss.cli import main
from lightning_croloss.cli.tune import search as tune_search
from lightning_croloss.cli.tune import workers as tune_workers
from lightning_croloss.cli.tune.workers import Workers
from lightning_croloss.tuning import portfolio
from tests.cli.cases import environment
from tests.cli.tuning import CONFIG, Here, rungs, tune, write

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("without_plots")]
WORDS = ["--n", "5", "--output"]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_search, "make_workers", lambda *_: Here())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that nothing has ended."""
    folder = tmp_path_factory.mktemp("whole")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tune_search, "make_workers", lambda *_: Here())
            tune(*write(), *WORDS, "out")
    finally:
        os.chdir(before)
    return folder / "out"


def weights(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)["state_dict"]
    return content


def same(first: Path, second: Path) -> bool:
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    differing = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not differing, f"{first} and {second} differ in {differing}"
    return True


def test_the_winner_is_the_fit_of_its_config(whole: Path) -> None:
    main(["fit", "--config", str(whole / "best_n5.yaml")])
    assert same(whole / "best_n5.ckpt", Path("runs/croloss/version_0/checkpoints/best.ckpt"))
    found = json.loads(Path("runs/croloss/version_0/test_results.json").read_text())
    (tested,) = whole.glob("candidates/*/test_n5.json")
    assert json.loads(tested.read_text())["test/recall@5"] == pytest.approx(found["recall"]["5"])
    assert (whole / "rungs.png").exists()


def _ended(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_the_same(whole: Path) -> None:
    command = ["-m", "lightning_croloss", "tune", *write(), *WORDS, "out"]
    with Path("log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], env=environment(), stdout=log, stderr=log)
        begun = time.monotonic()
        while not list(Path("out").glob("candidates/*/step_*.json")):
            assert process.poll() is None, Path("log").read_text()
            assert time.monotonic() - begun < 600, Path("log").read_text()
            time.sleep(0.05)
        time.sleep(random.uniform(0, 1))
        workers = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/stat")
            if _is_child(path, process.pid)
        ]
        process.send_signal(signal.SIGKILL)
        process.wait()
    end = time.monotonic() + 120
    while any(map(_runs, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(_runs, workers))
    tune("--config", "mine.yaml", *WORDS, "out")
    assert list(map(_ended, rungs("out"))) == list(map(_ended, rungs(whole)))
    assert same(whole / "best_n5.ckpt", Path("out/best_n5.ckpt"))


def _is_child(stat: Path, parent: int) -> bool:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ended_in_the_midst_of_a_rung_it_goes_on(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Here):
        left = 4

        def run(self, tasks: Any) -> Iterator[tuple[int, dict[str, Any]]]:
            for found in super().run(tasks):
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
                yield found

    monkeypatch.setattr(tune_search, "make_workers", lambda *_: Interrupted())
    with pytest.raises(SystemExit) as caught:
        tune(*write(), *WORDS, "out")
    assert caught.value.code == 130
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "interrupted" in line)
    assert line == ("croloss: interrupted; go on with: croloss tune --config mine.yaml --n 5 --output out")
    monkeypatch.setattr(tune_search, "make_workers", lambda *_: Here())
    tune("--config", "mine.yaml", *WORDS, "out")
    assert list(map(_ended, rungs("out"))) == list(map(_ended, rungs(whole)))
    assert same(whole / "best_n5.ckpt", Path("out/best_n5.ckpt"))


def test_a_weighted_mean_is_what_the_fit_keeps(tmp_path: Path) -> None:
    tune(*write(), "--n", "5", "10", "--weights", "1", "2", "--output", "out", "--trainer.max_epochs=2")
    assert [row["error"] for row in rungs("out")] == [""] * len(rungs("out"))
    main(["fit", "--config", "out/best_n5_n10.yaml", "--test_after_fit=false"])
    assert same(Path("out/best_n5_n10.ckpt"), Path("runs/croloss/version_0/checkpoints/best.ckpt"))


def test_the_speed_is_measured(tmp_path: Path) -> None:
    tune(*write(), "--n", "5", "--output", "out", "--minutes", "30", "--trainer.max_epochs=1")
    speed = json.loads(Path("out/speed.json").read_text())
    assert speed["step"] > 0
    assert speed["validation"] > 0
    assert Path("out/best_n5.ckpt").exists()


#: What a process of these tests does in place of training.
_ECHO = """
import json, os, signal, sys, time
for line in sys.stdin:
    task = json.loads(line)
    if task.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if "number" in task:
        time.sleep(0.1)  # in which another process begins
        print(json.dumps({"result": [task["number"], os.environ.get("OMP_NUM_THREADS")]}), flush=True)
"""


def test_a_process_that_is_killed_fails_its_task_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tune_workers, "_PROGRAM", _ECHO)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with Workers(2, tmp_path / "logs") as workers:
        tasks: list[dict[str, Any]] = [{"number": number} for number in range(6)]
        tasks[2] = {"die": True}
        answers = dict(workers.run(tasks))
        assert answers.pop(2)["error"].startswith("its process was killed, perhaps for want of memory")
        assert answers == {number: {"result": [number, "3"]} for number in (0, 1, 3, 4, 5)}
        running = [worker._process for worker in workers._workers.values()]
        assert len(running) == 2
    assert all(process.returncode is not None for process in running)


def test_a_task_is_taken_when_a_process_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tune_workers, "_PROGRAM", _ECHO)
    taken, waiting = 0, []

    def tasks() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for number in range(5):
            taken += 1
            yield {"number": number}

    with Workers(2, tmp_path / "logs") as workers:
        for answered, _ in enumerate(workers.run(tasks()), start=1):
            waiting.append(taken - answered)
    assert waiting == [1, 1, 1, 1, 0]


def test_what_the_validation_does_not_log_is_found_before_anything_is_trained() -> None:
    from lightning_croloss.cli.tune.work import measure

    write()
    assert measure("mine.yaml")["steps"] == 16
    with pytest.raises(ValueError, match="validation does not log 'val/hits@5'"):
        measure("mine.yaml", "hits")


def test_the_portfolio_is_that_of_the_model() -> None:
    model = {"class_path": "MatrixFactorization", "init_args": {"embedding_dim": 8, "ns": [5]}}
    trainer = CONFIG["trainer"] | {"max_epochs": 8}
    tune(*write(model=model, tune={}, trainer=trainer), *WORDS, "out")
    assert json.loads(Path("out/length.json").read_text())["known_users"] is True
    assert rungs("out")[0]["name"] == portfolio([5], known_users=True)[0].name
