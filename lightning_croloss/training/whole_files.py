"""Whatever a trainer writes of a run is whole or absent."""

from __future__ import annotations

from lightning.pytorch import Trainer

from lightning_croloss.training.whole_checkpoints import write_whole_checkpoints
from lightning_croloss.training.whole_csv import write_whole_csv


def write_whole_files(trainer: Trainer) -> None:
    """Let a trainer write its checkpoints and the files of its ``CSVLogger`` whole, in one step each.

    What the user chose stays: another ``CheckpointIO``, a subclass of ``CSVLogger``, addresses such as
    ``s3://…``.
    """
    write_whole_checkpoints(trainer)
    write_whole_csv(trainer)
