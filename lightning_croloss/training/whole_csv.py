"""``metrics.csv`` and ``hparams.yaml`` that are whole whenever somebody reads them."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from lightning_croloss.common.files import replacing, write_atomically

#: Bytes up to which the file is written at each flush.
SMALL = 2**18
#: A larger one is written so rarely that it takes this part of the time.
PART = 0.02


class WholeExperimentWriter(ExperimentWriter):
    """Replaces the files of a ``CSVLogger`` in one step each.

    Lightning's appends rows and, when a metric is new, empties the file to write it again: a process that
    ends meanwhile leaves a part of a row, or nothing of what was measured before. Each time the whole file is
    written: where that grows long, some of the flushes in the midst of a run are left out.
    """

    #: the logger's ``flush_logs_every_n_steps``
    flushed_every = 0
    _in_between = False
    _next = 0.0

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        """Keep a row until it is written."""
        super().log_metrics(metrics_dict, step)
        # the logger then calls save; when the run ends it calls it for the rest
        self._in_between = (
            step is not None and self.flushed_every > 0 and (step + 1) % self.flushed_every == 0
        )

    def save(self) -> None:
        """Write what was logged since."""
        in_between, self._in_between = self._in_between, False
        begin = time.monotonic()
        if not self.metrics or (in_between and begin < self._next):
            return
        path = Path(self.metrics_file_path)
        grown = self._record_new_keys()
        before = path.read_text("utf-8") if path.is_file() else ""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=self.metrics_keys)
        if grown or not before:
            writer.writeheader()
            writer.writerows(csv.DictReader(io.StringIO(before, newline="")))
        else:
            text.write(before)
        writer.writerows(self.metrics)
        # the file comes often, and a power cut costs at most the rows since the disk was last written
        write_atomically(path, text.getvalue().encode(), durable=False)
        self.metrics = []
        end = time.monotonic()
        self._next = end + (end - begin) / PART if path.stat().st_size > SMALL else 0.0

    def log_hparams(self, params: dict[str, object]) -> None:
        """Write ``hparams.yaml``."""
        self.hparams.update(params)
        with replacing(Path(self.log_dir) / self.NAME_HPARAMS_FILE) as temporary:
            save_hparams_to_yaml(temporary, self.hparams)


def write_whole_csv(trainer: Trainer) -> None:
    """Let the CSV loggers of a trainer that write to this machine write their files whole."""
    if not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        if type(logger) is not CSVLogger or "://" in str(logger.root_dir):
            continue
        writer = logger.experiment
        if type(writer) is ExperimentWriter:
            writer.__class__ = WholeExperimentWriter  # its files and what it has logged stay as they are
            writer.flushed_every = logger._flush_logs_every_n_steps  # type: ignore[attr-defined]
