"""UserMetricsWriter: the metrics of each user as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from croloss_serving.common.arrow_tokens import token_array
from croloss_serving.common.home_folder import expanded
from lightning_croloss.callbacks.own_data import refuse_own_data
from lightning_croloss.common.files import output_file, replacing
from lightning_croloss.common.locks import claimed
from lightning_croloss.common.replaceable import check_path
from lightning_croloss.common.row_file import EXTENSIONS, LINES, RowFile, is_writable
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.errors import MissingExtraError
from lightning_croloss.models.evaluation import ExactEvaluation

#: Of the users of some batches: their ids, numbers of targets, and values (B, M) in the order of the names.
Rows = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]


class UserMetricsWriter(Callback):
    """Write what ``Trainer.validate`` or ``Trainer.test`` measures for each user: one row a user.

    The columns are ``user`` (a token of the data), ``targets`` (how many the user has) and every metric @N
    (``recall@20`` and so on), whose means over the rows are what the evaluation reports. The validations
    inside a fit are not written. Under several processes the first one writes what all measured. The file
    appears when the evaluation ends, or not at all if something fails; a dry run writes none.

    Args:
        output: the file to write: Parquet (``.parquet``), ``.csv``, ``.tsv``, or ``.jsonl`` with an object
            for each user.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: the file exists and must not be replaced, or has another extension.
        FileExistsError: it is a symbolic link or not a plain file.
        MissingExtraError: pyarrow or polars is not installed.
    """

    def __init__(self, output: str = "user_metrics.parquet", overwrite: bool = False) -> None:
        self.output = expanded(output)
        if not is_writable(self.output):
            raise ValueError(f"output {str(output)!r} must end in {', '.join(EXTENSIONS)}")
        if self.output.is_dir():
            raise ValueError(f"output {str(output)!r} is a folder: name a file in it")
        if self.output.exists() and not overwrite:
            raise ValueError(f"output {str(output)!r} exists: choose another file, or set overwrite to true")
        check_path(self.output, "output", folder=False)
        try:
            import polars  # noqa: F401
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("writing the metrics of each user", "tables") from error
        self._overwrite = overwrite
        self._rows: list[Rows] = []
        self._names: list[str] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that the file can be written, before the training or the evaluation whose end it records.

        Raises:
            ValueError: it is a file that the data are read from.
            PermissionError: its folder cannot be made or written to.
            FileExistsError: another job is writing it.
        """
        refuse_own_data(trainer, self.output)
        if trainer.is_global_zero:
            with claimed(self.output):
                pass

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin, unless it is a validation inside a fit."""
        if trainer.state.fn == "validate":
            self._begin(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin.

        Raises:
            ValueError: the data is not a ``RetrievalDataModule``.
        """
        self._begin(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: RetrievalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the metrics of a batch's users."""
        if trainer.state.fn == "validate":
            self._keep(pl_module, outputs, batch, "val")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: RetrievalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the metrics of a batch's users.

        Raises:
            TypeError: the model does not return the ranks of the targets.
        """
        self._keep(pl_module, outputs, batch, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after ``Trainer.validate``."""
        if trainer.state.fn == "validate":
            self._end(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after ``Trainer.test``."""
        self._end(trainer, pl_module)

    def _begin(self, model: LightningModule) -> None:
        if getattr(model, "data", None) is None:
            raise ValueError(
                "the metrics of each user are written in the tokens of a RetrievalDataModule: give the "
                "trainer one"
            )
        self._rows, self._names = [], []

    def _keep(self, model: LightningModule, outputs: Any, batch: RetrievalBatch, stage: str) -> None:
        if not isinstance(model, ExactEvaluation) or not isinstance(outputs, dict) or "ranks" not in outputs:
            raise TypeError(
                "UserMetricsWriter needs the ranks that the steps of RetrievalModel return, but "
                f"{type(model).__name__}'s returned {type(outputs).__name__}: return what super() returns"
            )
        first = 0
        for ranks in outputs["ranks"]:
            self._keep_ranks(model, ranks, batch.users[first : first + len(ranks)], stage)
            first += len(ranks)

    def _keep_ranks(self, model: ExactEvaluation, ranks: Tensor, users: Tensor, stage: str) -> None:
        values = model.user_metrics(ranks, stage)
        self._names = list(values)
        number = (ranks > 0).sum(1)
        counted = number > 0  # as in the means
        table = torch.stack([value[counted].double().cpu() for value in values.values()], dim=1)
        self._rows.append((users[counted].cpu().numpy(), number[counted].int().cpu().numpy(), table.numpy()))

    def _end(self, trainer: Trainer, model: LightningModule) -> None:
        rows, names = _gathered(self._rows, self._names, trainer.world_size)
        self._rows = []
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if trainer.is_global_zero:
            self._write(rows, names, model)

    def _write(self, rows: list[Rows], names: list[str], model: Any) -> None:
        import pyarrow as pa

        width = len(names)
        empty: Rows = (np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, width)))
        users, targets, values = (np.concatenate(part) for part in zip(empty, *rows, strict=True))
        order = np.argsort(users, kind="stable")
        # index 0 is padding, which no user is
        tokens = token_array([None, *model.data.user_vocabulary.tokens])
        columns = {"user": tokens.take(pa.array(users[order])), "targets": pa.array(targets[order])}
        columns |= {name: pa.array(values[order, at]) for at, name in enumerate(names)}
        table = pa.table(columns)
        with (
            output_file(self.output, self._overwrite, "output"),
            replacing(self.output, new=not self._overwrite) as temporary,
        ):
            if self.output.suffix.lower() == LINES:
                _write_lines(temporary, table)
            else:
                with RowFile(temporary, table.schema) as file:
                    file.write_table(table)
        print(f"each user:  {self.output} ({len(table):,} users)")


def _gathered(rows: list[Rows], names: list[str], world_size: int) -> tuple[list[Rows], list[str]]:
    """Return the rows of all processes, and the names, which a process without users does not know."""
    if world_size == 1:
        return rows, names
    found: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(found, (rows, names))
    return [row for part, _ in found for row in part], next((known for _, known in found if known), [])


def _write_lines(path: Path, table: Any) -> None:
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_ndjson(path)
