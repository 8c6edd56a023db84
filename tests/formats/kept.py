"""The files that tests of this folder read: what earlier code wrote, and how it is measured again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from torch import Tensor

import lightning_croloss
from lightning_croloss.training.sharded.folder import rest_of

HERE = Path(__file__).parent
#: The folders, each written once.
SETS = ("version_1", "release_0_1")
#: Smaller differences between scores might be the other way around on another processor.
CLEAR = 1e-5
#: By how much a training loss may differ there, after a few steps.
ERROR = 1e-3


def _listed(pattern: str) -> list[str]:
    """Return the names of what is kept, such as ``version_1/mind``."""
    return [f"{folder}/{path.stem}" for folder in SETS for path in sorted((HERE / folder).glob(pattern))]


RUNS = _listed("configs/*.yaml")
EXPORTS = _listed("exports/*")


class Run:
    """What is kept of a run, in the current folder, which is one of a set.

    Args:
        name: of the run.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.config = f"configs/{name}.yaml"  # as the user wrote it
        self.resolved = f"fits/{name}/config.yaml"
        self.folder = f"zoo/small/{name}"

    @property
    def checkpoint(self) -> str:
        """The checkpoint that was kept: the best, or one of the middle of an epoch; a folder if in shards."""
        (path,) = Path(f"fits/{self.name}").glob("*.ckpt")
        return str(path)

    def content(self) -> dict[str, Any]:
        """Return what is in the checkpoint, without the tables that lie in shards."""
        found: dict[str, Any] = torch.load(rest_of(self.checkpoint), weights_only=True)
        return found

    @property
    def in_one_process(self) -> list[str]:
        """Options with which one process does what several did."""
        written = yaml.safe_load(Path(self.config).read_text())
        processes = written["trainer"].get("devices", 1)
        if processes == 1:
            return []
        size = processes * written["data"]["init_args"]["batch_size"]
        return ["--trainer.devices=1", "--trainer.strategy=auto", f"--data.init_args.batch_size={size}"]

    @property
    def cls(self) -> type:
        """The class of the model."""
        path = yaml.safe_load(Path(self.config).read_text())["model"]["class_path"]
        found: type = getattr(lightning_croloss, path)
        return found

    def data(self) -> Any:
        """Return the data of the config."""
        return data_of(yaml.safe_load(Path(self.config).read_text()))

    def tested(self) -> dict[str, float]:
        """Return what was measured of the checkpoint when it was written."""
        found: dict[str, float] = json.loads(Path(f"{self.folder}/metrics.json").read_text())["test"]
        return found

    def losses_after(self) -> dict[int, float]:
        """Return the training loss of each step after the checkpoint; nothing where they were not kept."""
        path = Path(f"fits/{self.name}/metrics.csv")
        losses = losses_in(path) if path.exists() else {}
        return {step: loss for step, loss in losses.items() if step >= self.content()["global_step"]}


def data_of(config: dict[str, Any]) -> Any:
    """Build the data of a config."""
    arguments = dict(config["data"]["init_args"])
    if split := arguments.pop("split", None):
        name = split["class_path"].rpartition(".")[2]
        arguments["split"] = getattr(lightning_croloss, name)(**split.get("init_args", {}))
    return lightning_croloss.TableDataModule(**arguments)


def losses_in(path: Path) -> dict[int, float]:
    """Return the training loss of each step, from what ``CSVLogger`` wrote."""
    with path.open() as file:
        return {
            int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]
        }


def flat(results: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return what a run wrote into ``test_results.json`` as ``metrics.json`` has it."""
    return {f"{metric}@{n}": value for metric, by_n in results.items() for n, value in by_n.items()}


def quiet_trainer(**kwargs: Any) -> Trainer:
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(accelerator="cpu", **dict.fromkeys(quiet, False), **kwargs)


def measured(model: Any, data: Any) -> tuple[dict[str, float], float]:
    """Test a model; return its figures, and the smallest difference on which a rank of them hangs."""
    gap = SmallestGap()
    trainer = quiet_trainer(callbacks=[gap])
    trainer.test(model, data, verbose=False)
    figures = {name.removeprefix("test/"): float(value) for name, value in trainer.callback_metrics.items()}
    return figures, gap.value


class SmallestGap(Callback):
    """Finds the smallest difference between the scores of a target and of another item of the catalogue."""

    value = float("inf")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Look at the users of a batch."""
        scores: Tensor = (pl_module.encode_users(batch) @ pl_module.encode_catalogue().T).amax(1)
        places = (batch.targets - 1).clamp(min=0)
        gaps = (scores.unsqueeze(1) - scores.gather(1, places).unsqueeze(2)).abs()
        gaps = gaps.scatter(2, places.unsqueeze(2), torch.inf)[batch.targets > 0]
        self.value = min(self.value, float(gaps.min()))
