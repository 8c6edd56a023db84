"""What ``croloss fit`` tests, names and says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_croloss.cli import main
from tests.cli.small import FIT, NO_PLOT

pytestmark = [
    NO_PLOT,
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*was deprecated in v4.49"),
]
STEPS = [
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.every_n_train_steps=1",
    "--trainer.callbacks.filename=steps",
]
BEST = [
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.monitor=val/recall@5",
    "--trainer.callbacks.mode=max",
    "--trainer.callbacks.filename=best",
]
FOLDER = Path("runs/croloss/version_0/checkpoints")


def said_by(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["fit", *arguments])
    printed = capfd.readouterr()
    return printed.out + printed.err


def test_the_checkpoint_that_is_chosen_by_a_metric_is_tested(capfd: pytest.CaptureFixture[str]) -> None:
    said = said_by(capfd, *FIT, *STEPS, *BEST)
    assert f"checkpoint: {FOLDER / 'best.ckpt'}" in said
    assert (FOLDER / "steps.ckpt").exists()
