"""What the tests of ``croloss tune --interactions`` search over, and what does the work without training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from lightning_croloss.cli import main
from lightning_croloss.cli.tune.worker import answer_to
from lightning_croloss.tuning.records import write_record

USERS, ITEMS = 150, 60


def write_tables() -> None:
    """Write events of users who stay with a fifth of the items, and a table of the items."""
    import polars as pl

    random = np.random.default_rng(0)
    users = np.repeat(np.arange(USERS), 8)
    items = users % 5 * 12 + random.integers(0, 12, len(users))
    events = {"customer": users, "item_id": items, "timestamp": np.arange(len(users))}
    pl.DataFrame(events).write_parquet("events.parquet")
    names = [f"item {item}" for item in range(ITEMS)]
    kinds = [f"kind {item // 12}" for item in range(ITEMS)]
    pl.DataFrame({"item_id": range(ITEMS), "name": names, "kind": kinds}).write_parquet("items.parquet")


def write_events_with_rare_items() -> None:
    """Write the events of 150 users, and of 40 more whose only three are with items of their own."""
    import polars as pl

    events = pl.read_parquet("events.parquet")
    rare = pl.DataFrame(
        {
            "customer": [USERS + number // 3 for number in range(120)],
            "item_id": [ITEMS + number for number in range(120)],
            "timestamp": [10_000 + number for number in range(120)],
        }
    )
    pl.concat([events, rare]).write_parquet("events.parquet")
    kinds = [f"kind {item % 3}" for item in range(ITEMS)] + [f"rare {item}" for item in range(20)] * 6
    pl.DataFrame({"item_id": range(ITEMS + 120), "kind": kinds}).write_parquet("items.parquet")


def tune(*words: str, minutes: float = 0.02) -> None:
    """Run the command, which by default has time for one short turn."""
    main(
        ["tune", "--interactions=events.parquet", "--user_column", "customer", f"--minutes={minutes}", *words]
    )


class Here:
    """Does the tasks in this process."""

    tasks: list[Mapping[str, Any]]

    def __init__(self, *_: Any) -> None:
        self.tasks = []

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """Nothing is to be started."""

    def run(self, tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, task in enumerate(tasks):
            self.tasks.append(task)
            yield number, answer_to(dict(task))


class Pretended(Here):
    """Does no task, but answers as if: a turn has ten steps and one validation, and gains no more then.

    While a rate falls nothing is gained either.

    A model reaches 0.2, with the mean of a history 0.3, and more with another seed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.processes = 0
        self.side_by_side: list[int] = []
        self.besides = 0.0
        #: what to answer instead, by the words that a config has in it
        self.answers: dict[str, dict[str, Any]] = {}

    def run(self, tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        self.side_by_side.append(len(tasks))
        for number, task in list(enumerate(tasks))[::-1]:  # in an order of its own
            self.tasks.append(json.loads(json.dumps(task)))
            text = Path(task["config"]).read_text()
            other = [answer for words, answer in self.answers.items() if words in text]
            yield number, other[0] if other else {"result": getattr(self, task["do"])(task)}

    def train_for(self, task: Mapping[str, Any]) -> dict[str, Any]:
        config = yaml.safe_load(Path(task["config"]).read_text())
        before = task.get("validations", [])
        step = task.get("steps") or (before[-1][0] if before else 0) + 10
        value = 0.3 if config["model"]["class_path"] == "YouTubeDNN" else 0.2
        folder = Path(task["config"]).parent
        (folder / "checkpoints").mkdir(exist_ok=True)
        torch.save({"value": value}, folder / "checkpoints" / "best.ckpt")
        each = [entry["init_args"].get("monitor") for entry in config["trainer"]["callbacks"]]
        monitor = next(filter(None, each))
        write_record(folder / "best.json", {monitor: "checkpoints/best.ckpt"})
        Path(task["save"]).touch()
        found = {"step": step, "epoch": 5, "validations": [*before, [step, value]]}
        found |= {"settled": task.get("falling") is None}
        return found | {"trained": 1.0, "validation": 0.1, "besides": self.besides}

    def test(self, task: Mapping[str, Any]) -> dict[str, float]:
        seed = yaml.safe_load(Path(task["config"]).read_text())["seed_everything"]
        return {f"test/recall@{n}": 0.5 + 0.01 * (seed - 42) for n in (5, 20)}

    def test_users(self, task: Mapping[str, Any]) -> dict[str, Any]:
        return {"metrics": self.test(task), "users": [0.5] * USERS}


__all__ = ["ITEMS", "USERS", "Here", "Pretended", "tune", "write_events_with_rare_items", "write_tables"]
