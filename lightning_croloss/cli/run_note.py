"""What a run tells the command that started it: where its folder is, and what its test measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lightning.pytorch import Trainer

from lightning_croloss.common.files import write_atomically
from lightning_croloss.training.run_folder import run_folder

#: The environment variable that names the file to write.
NOTE = "CROLOSS_RUN_NOTE"


def leave_note(trainer: Trainer) -> None:
    """Write the note of a run that has been tested, if anyone waits for it."""
    path = os.environ.get(NOTE)
    metrics = {
        name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")
    }
    if path and metrics and trainer.is_global_zero:
        folder = run_folder(trainer)
        # without a logger the runs share the folder, and the user has chosen it
        beside = folder.parent if trainer.loggers else folder
        note = {"folder": str(folder), "beside": str(beside), "metrics": metrics}
        write_atomically(Path(path), json.dumps(note).encode())
