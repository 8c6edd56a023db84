"""A small run of the command line, on data that needs no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightning_croloss.cli import main

DATA = "--data=tests.data_for_tests.ClusteredData"
QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
#: Plots take as long as all the rest of so small a run.
NO_PLOT = pytest.mark.usefixtures("without_plots")
SMALL = [DATA, "--model=YouTubeDNN", *QUIET]
MODEL = ["--model.ns=[5,10]", "--model.embedding_dim=8", "--model.hidden_dims=[16]"]
FIT = [*SMALL, *MODEL, "--trainer.max_epochs=1", "--trainer.limit_train_batches=3"]
LAST = "--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_last=true"


def fit(*arguments: str) -> Path:
    """Run a short fit with a last checkpoint in the current folder; return that checkpoint."""
    main(["fit", *FIT, *LAST, "--test_after_fit=false", *arguments])
    return newest("**/last*.ckpt")


def newest(pattern: str) -> Path:
    """Return the file of a pattern in the current folder that was written last."""
    return max(Path().glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def measured(*arguments: str) -> dict[str, Any]:
    """Run a command that measures, and return its results."""
    main(list(arguments))
    found: dict[str, Any] = json.loads(newest("**/*_results*.json").read_text())
    return found
