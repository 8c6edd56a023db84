"""The test of a checkpoint in a process of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_croloss.cli.tune.run_cli import RunCLI, built_run, leave_reports
from lightning_croloss.models.evaluation import ExactEvaluation
from lightning_croloss.training.run_versions import own_versions


def test(config: str, checkpoint: str) -> dict[str, float]:
    """Return what the test measures of a checkpoint."""
    return _tested(built_run(config), checkpoint)


def test_users(config: str, checkpoint: str, names: Mapping[str, float]) -> dict[str, Any]:
    """Return what the test measures of a checkpoint, and for each user in the order of the rows.

    Args:
        config: the file of a config.
        checkpoint: the file of the checkpoint.
        names: the metrics of which a user's value is the weighted sum, without the name of the part.
    """
    cli = built_run(config)
    leave_reports(cli.trainer)
    users = _Users(names)
    cli.trainer.callbacks.append(users)  # type: ignore[attr-defined]
    return {
        "metrics": _tested(cli, checkpoint),
        "users": [value for part in users.values for value in part.tolist()],
    }


class _Users(Callback):
    """Keeps a value of each user that a test measures."""

    def __init__(self, names: Mapping[str, float]) -> None:
        self.values: list[torch.Tensor] = []
        self._names = names

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, ExactEvaluation)
        for ranks in outputs["ranks"]:
            values = pl_module.user_metrics(ranks)
            total = sum(share * values[name].double() for name, share in self._names.items())
            assert isinstance(total, torch.Tensor)
            self.values.append(total.cpu())


def _tested(cli: RunCLI, checkpoint: str) -> dict[str, float]:
    """Run the test of a checkpoint, and return what it measures."""
    trainer = cli.trainer
    with own_versions(trainer, True):
        trainer.test(
            cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True
        )
    return {
        name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")
    }
