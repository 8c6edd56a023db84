"""PredictionWriter: recommendations as a file, in a stream."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from croloss_serving.common.arrow_tokens import token_array
from lightning_croloss.common.files import output_file, replacing
from lightning_croloss.common.replaceable import check_path
from lightning_croloss.common.row_file import EXTENSIONS, RowFile, is_writable
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.errors import MissingExtraError


class PredictionWriter(Callback):
    """Write what ``Trainer.predict`` finds: one row for each user and item, best first.

    The columns are ``user`` and ``item`` (tokens of the data), ``rank`` (from 1) and ``score``. Batches
    are written as they come; the file appears when the last one is written, or not at all if something fails.

    Args:
        output: the file to write: Parquet (``.parquet``), ``.csv``, ``.tsv``, or ``.jsonl`` with a line for
            each user.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: the file exists and must not be replaced, or has another extension.
        FileExistsError: it is a symbolic link or not a plain file.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, output: str = "predictions.parquet", overwrite: bool = False) -> None:
        self.output = Path(output).expanduser()
        if self.output.exists() and not overwrite:
            raise ValueError(f"output {output!r} exists: choose another file, or set overwrite to true")
        if not is_writable(self.output):
            raise ValueError(f"output {output!r} must end in {', '.join(EXTENSIONS)}")
        check_path(self.output, "output", folder=False)
        self._overwrite = overwrite
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("writing predictions", "tables") from error
        self._stack = ExitStack()
        self._writer: Any = None
        self._tokens: tuple[Any, Any] | None = None
        self._users = self._without = self._left_out = self._not_served = 0
        self._why = ""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open a temporary file beside the output.

        Raises:
            ValueError: there are several processes, or the data is not a ``RetrievalDataModule``.
            FileExistsError: the file was made since, or another job is writing it.
        """
        import pyarrow as pa

        if trainer.world_size > 1:
            raise ValueError(
                f"predict writes one file from one process, got {trainer.world_size}: set devices=1"
            )
        data = getattr(pl_module, "data", None)
        if data is None:
            raise ValueError(
                "predictions are written in the tokens of a RetrievalDataModule: give the trainer one"
            )
        recipients = data.recipients
        vocabulary = data.user_vocabulary if recipients is None else recipients.vocabulary
        self._left_out = 0 if recipients is None else recipients.num_left_out
        self._not_served, self._why = data.users_not_served
        users, items = _tokens(vocabulary), _tokens(data.item_vocabulary)
        self._tokens = users, items
        schema = pa.schema(
            [("user", users.type), ("rank", pa.int32()), ("item", items.type), ("score", pa.float32())]
        )
        self._stack.enter_context(output_file(self.output, self._overwrite, "output"))
        temporary = self._stack.enter_context(replacing(self.output, new=not self._overwrite))
        self._writer = self._stack.enter_context(RowFile(temporary, schema))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: RetrievalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append the recommendations of one batch."""
        import pyarrow as pa

        assert self._tokens is not None
        ids, scores = (output.cpu() for output in outputs)
        kept = ids != 0  # 0: fewer candidates were left than asked for
        served = int(kept.any(1).sum())
        self._users += served
        self._without += len(ids) - served
        numbers = batch.users if batch.recipients is None else batch.recipients
        users = numbers.cpu().unsqueeze(1).expand_as(ids)
        ranks = torch.arange(1, ids.shape[1] + 1, dtype=torch.int32).expand_as(ids)
        columns = [
            _decode(self._tokens[0], users[kept]),
            pa.array(ranks[kept].numpy()),
            _decode(self._tokens[1], ids[kept]),
            pa.array(scores[kept].float().numpy()),
        ]
        self._writer.write_table(pa.table(columns, schema=self._writer.schema))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the file and move it to its path."""
        self._stack.close()
        print(f"predictions: {self.output} ({self._summary(pl_module)})")

    def _summary(self, model: LightningModule) -> str:
        """Tell how many users were served, and how many were not and why."""
        said = f"{self._users:,} users"
        prediction = getattr(model, "prediction", None)
        if prediction is not None and prediction.num_popular:
            said += (
                f", {prediction.num_popular:,} of them without anything that the model knows, who got the "
                "most popular items"
            )
        if self._without:
            said += f"; {self._without:,} users for whom no item is left have no rows"
        if self._left_out:
            said += (
                f"; {self._left_out:,} users left out, whom the filters of the data kept from training: a "
                f"{type(model).__name__} recommends to users that it was trained with"
            )
        if self._not_served:
            said += f"; {self._not_served:,} users left out, {self._why}"
        return said

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the temporary file."""
        self._stack.__exit__(type(exception), exception, exception.__traceback__)


def _tokens(vocabulary: Vocabulary) -> Any:
    # index 0 is padding, which is never written
    return token_array([None, *vocabulary.tokens])


def _decode(tokens: Any, ids: Tensor) -> Any:
    import pyarrow as pa

    return tokens.take(pa.array(ids.numpy()))
