"""A run of the command line, and the error of one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_croloss.cli import main

ROOT = Path(__file__).parents[2]
PACKAGES = os.pathsep.join([str(ROOT), str(ROOT / "serving")])

CONFIG = ROOT / "configs" / "ml-100k" / "youtube_dnn.yaml"

QUICK = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=30", "--trainer.enable_progress_bar=false"]


#: What a trainer of an earlier test leaves behind, by which a process takes itself for one of its processes.
OF_TRAINERS = {"LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def environment() -> dict[str, str]:
    """Return the environment of a process that imports these packages."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_TRAINERS}
    return {**kept, "PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"}


def in_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "lightning_croloss", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        check=False,
    )


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail and return what it says after ``croloss: error:``."""
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    assert exit_info.value.code != 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("croloss: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("croloss: error: ")
