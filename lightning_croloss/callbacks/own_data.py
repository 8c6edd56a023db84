"""Outputs of callbacks that are files of the data that the trainer reads."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lightning.pytorch import Trainer

from lightning_croloss.common.own_inputs import refuse_own_inputs
from lightning_croloss.data.interaction_source import InteractionSource
from lightning_croloss.data.partitions.manifest import with_parts
from lightning_croloss.errors import DataError, MissingExtraError


def refuse_own_data(trainer: Trainer, output: Path) -> None:
    """Refuse to replace a file that the data module of a trainer reads.

    Raises:
        ValueError: the output is such a file, by whatever path.
    """
    data = getattr(trainer, "datamodule", None)
    if isinstance(data, InteractionSource):
        with suppress(DataError, MissingExtraError):  # what is read is gone since: nothing is lost
            files = (("the data", path) for path in with_parts(data.source_files()))
            refuse_own_inputs([output], files, "output")


__all__ = ["refuse_own_data"]
