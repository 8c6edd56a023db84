"""What the tests of ``croloss tune`` search over: a config, and what does the work without processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss.cli import main
from lightning_croloss.cli.tune import search as tune_search
from lightning_croloss.cli.tune.worker import answer_to
from lightning_croloss.tuning.records import write_record

LOSSES: list[Any] = [
    {"class_path": "CROLoss", "init_args": {"kernel": "exp", "temperature": 0.1}},
    {"class_path": "CROLoss", "init_args": {"kernel": "softplus", "temperature": 0.2}},
    {"class_path": "SoftmaxLoss", "init_args": {"temperature": 0.05}},
]
CONFIG: dict[str, Any] = {
    "data": {"class_path": "tests.data_for_tests.ClusteredData"},
    "model": {
        "class_path": "YouTubeDNN",
        "init_args": {
            "embedding_dim": 8,
            "hidden_dims": [16],
            "ns": [5],
            "negatives": {"class_path": "FullCatalogNegatives"},
        },
    },
    "trainer": {
        "max_epochs": 4,
        "accelerator": "cpu",
        "limit_train_batches": 4,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [
            {
                "class_path": "EarlyStopping",
                "init_args": {"monitor": "val/recall@5", "mode": "max", "patience": 9},
            }
        ],
    },
    "tune": {"losses": LOSSES},
}


def write(name: str = "mine.yaml", **sections: Any) -> list[str]:
    """Write a config, in which some sections are others, and return the words that name it."""
    Path(name).write_text(yaml.safe_dump(CONFIG | sections))
    return ["--config", name]


def tune(*words: str) -> None:
    main(["tune", *words])


class Here:
    """Does tasks in this process, one after the other."""

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, tasks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, task in enumerate(tasks):
            yield number, answer_to(json.loads(json.dumps(task)))


class Pretended(Here):
    """Does no task, but answers as if: a fit has 64 steps and 4 validations of 2 batches.

    A loss is the better the nearer its temperature is to 0.2; a dropout of histories adds what it is.
    """

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.failing: list[str] = []
        self.processes = 0
        self.gpus: Sequence[str] = ()

    def run(self, tasks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, task in list(enumerate(tasks))[::-1]:  # in an order of its own
            self.tasks.append(dict(task))
            yield number, getattr(self, task["do"])(task)

    def measure(self, task: Mapping[str, Any]) -> dict[str, Any]:
        found = {"steps": 64, "validations": [16, 32, 48, 64], "validation_batches": 2}
        return {"result": found | {"resumable": None, "batches_per_epoch": 16, "num_items": 40}}

    def speed(self, task: Mapping[str, Any]) -> dict[str, Any]:
        return {"result": {"step": 10.0, "validation": 20.0, "other": 5.0}}

    def train(self, task: Mapping[str, Any]) -> dict[str, Any]:
        path = Path(task["config"])
        config = yaml.safe_load(path.read_text())
        step = task["step"] or 64
        if any(text in path.read_text() for text in self.failing):
            return {"error": "it does not learn"}
        before = task.get("before") or {"validations": [], "seconds": 0.0}
        value = self.value(config) * step / 64
        known = [each["step"] for each in before["validations"]]
        at = [each for each in (16, 32, 48, 64) if each <= step and each not in known]
        metrics = {f"val/{name}@{n}": value * n / 40 for name in ("recall", "ndcg") for n in (5, 10, 20)}
        validations = [{"step": each, "metrics": metrics, "apart": False} for each in at]
        if step % 16:
            validations.append({"step": step, "metrics": metrics, "apart": True})
        if task["step"] is None:
            monitors = [
                entry["init_args"]["monitor"]
                for entry in config["trainer"]["callbacks"]
                if entry["class_path"].endswith("ModelCheckpoint")
            ]
            torch.save({"value": value}, path.parent / "best.ckpt")
            best = dict.fromkeys(monitors, "best.ckpt")
            write_record(path.parent / "best.json", best)
        else:
            Path(task["save"]).touch()
        found = {"step": step, "finished": task["step"] is None, "error": None}
        found |= {"validations": before["validations"] + validations, "seconds": before["seconds"] + 1}
        return {"result": found}

    def test(self, task: Mapping[str, Any]) -> dict[str, Any]:
        config = yaml.safe_load(Path(task["config"]).read_text())
        value = self.value(config) + 0.01 * (config.get("seed_everything", 42) - 42)
        return {"result": {f"test/recall@{n}": value for n in (5, 10, 20)}}

    def value(self, config: Mapping[str, Any]) -> float:
        arguments = config["model"]["init_args"]
        temperature = arguments.get("loss", {}).get("init_args", {}).get("temperature", 0.1)
        return float(0.5 - abs(temperature - 0.2) + arguments.get("history_dropout", 0.0))


class Clocked(Pretended):
    """Tells a time of its own, in which each task takes as long as its speed says, or a multiple of that.

    Attributes:
        slower: how many times as long a run of the search takes as was measured.
        seeds_slower: how many times as long again one with another seed takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.began = 1000.0
        self.slower = self.seeds_slower = 1.0
        self.step, self.validation, self.other = 10.0, 20.0, 5.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def run(self, tasks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, task in enumerate(tasks):  # each is taken once those before have been dealt with
            self.tasks.append(dict(task))
            yield number, getattr(self, task["do"])(task)

    def speed(self, task: Mapping[str, Any]) -> dict[str, Any]:
        return {"result": {"step": self.step, "validation": self.validation, "other": self.other}}

    def train(self, task: Mapping[str, Any]) -> dict[str, Any]:
        trainer = yaml.safe_load(Path(task["config"]).read_text())["trainer"]
        before = (task.get("before") or {"step": 0})["step"]
        limit = trainer["limit_train_batches"]
        of_epoch = 16 if limit == CONFIG["trainer"]["limit_train_batches"] else limit
        wanted = task["step"] or trainer["max_epochs"] * of_epoch
        step, began = before, self.now
        slower = self.slower * (self.seeds_slower if "seeds" in task["config"] else 1.0)
        self.now += self.other * slower
        while step < wanted:
            step += 1
            self.now += slower * (self.step + (step % 16 == 0) * self.validation)
            if task.get("deadline") and self.now > task["deadline"]:
                break
        self.now += (step % 16 != 0) * self.validation * slower
        result = super().train(task)["result"]
        earlier = (task.get("before") or {"seconds": 0.0})["seconds"]
        return {"result": result | {"step": step, "seconds": earlier + self.now - began}}

    def test(self, task: Mapping[str, Any]) -> dict[str, Any]:
        self.now += self.other + self.validation
        return super().test(task)


class NoMirrors:
    """Writes no database, which takes as long as all the rest."""

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> NoMirrors:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, *_: Any, **__: Any) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Close nothing."""


def open_files(name: str) -> list[str]:
    """Return the files of a name that this process holds open, where the system tells."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    found = []
    for each in folder.iterdir():
        with suppress(OSError):  # that of this very listing
            found.append(os.readlink(each))
    return [path for path in found if Path(path).name.startswith(name)]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """Let the work be done in this process."""
    workers = Here()
    monkeypatch.setattr(tune_search, "make_workers", lambda *_: workers)
    return workers


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """Let no work be done."""
    workers = Pretended()
    _pretend(monkeypatch, workers)
    return workers


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    """Let no work be done, at a time of its own."""
    workers = Clocked()
    _pretend(monkeypatch, workers)
    for module in ("budget", "options", "seed_runs"):
        monkeypatch.setattr(f"lightning_croloss.cli.tune.{module}.time", workers)
    return workers


def _pretend(monkeypatch: pytest.MonkeyPatch, workers: Pretended) -> None:
    def made(processes: int, logs: Path, gpus: Sequence[str]) -> Pretended:
        workers.processes, workers.gpus = processes, gpus
        return workers

    monkeypatch.setattr(tune_search, "make_workers", made)


def rungs(folder: str | Path) -> list[dict[str, str]]:
    """Return the rows of ``rungs.csv``."""
    import csv

    with (Path(folder) / "rungs.csv").open() as file:
        return list(csv.DictReader(file))
