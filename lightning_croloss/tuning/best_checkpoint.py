"""The checkpoint that a search keeps of a candidate for an objective."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.tuning.objective import Objective


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights that are best by an objective.

    A class of its own, so that its state is not confused with that of a ``ModelCheckpoint`` of the user's.

    Args:
        folder: where it is kept.
        objective: what it is best in.
    """

    def __init__(self, folder: Path, objective: Objective) -> None:
        path = best_path(folder, objective)
        super().__init__(
            path.parent,
            path.stem,
            monitor=objective.monitor,
            mode="max",
            save_on_train_epoch_end=False,  # but when it is measured
            enable_version_counter=False,
            auto_insert_metric_name=False,
        )


def best_path(folder: Path, objective: Objective) -> Path:
    """Return where the best checkpoint of a candidate is kept."""
    return folder / f"best_{objective.label}.ckpt"
