"""PredictionWriter: recommendations as a file, in a stream."""

from __future__ import annotations

from contextlib import ExitStack
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
from lightning_croloss.common.replaceable import check_path
from lightning_croloss.common.row_file import EXTENSIONS, RowFile, is_writable
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.errors import MissingExtraError

#: Of the users of a batch: their tokens (B,), and ids and scores (B, n) of their items.
Lists = tuple[Any, NDArray[np.int64], NDArray[np.float32]]


class PredictionWriter(Callback):
    """Write what ``Trainer.predict`` finds: one row for each user and item, best first.

    The columns are ``user`` and ``item`` (tokens of the data), ``rank`` (from 1) and ``score``. Batches
    are written as they come; the file appears when the last one is written, or not at all if something fails.
    Under several processes the first one writes what all find, each user once.

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
        self.output = expanded(output)
        if not is_writable(self.output):
            raise ValueError(f"output {output!r} must end in {', '.join(EXTENSIONS)}")
        if self.output.exists() and not overwrite:
            raise ValueError(f"output {output!r} exists: choose another file, or set overwrite to true")
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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that nothing is lost, before any work.

        Raises:
            ValueError: the output is a file that the data are read from.
        """
        refuse_own_data(trainer, self.output)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open a temporary file beside the output.

        Raises:
            ValueError: the data is not a ``RetrievalDataModule``, or the processes have batches of their own
                numbers.
            FileExistsError: the file was made since, or another job is writing it.
        """
        import pyarrow as pa

        data = getattr(pl_module, "data", None)
        if data is None:
            raise ValueError(
                "predictions are written in the tokens of a RetrievalDataModule: give the trainer one"
            )
        self._users = self._without = 0  # of this time alone
        numbers = _of_all(trainer, trainer.num_predict_batches, everywhere=True)
        if any(number != numbers[0] for number in numbers):
            raise ValueError(
                f"the processes of predict write batch by batch, but have {numbers} batches: give the "
                "trainer the data module itself"
            )
        recipients = data.recipients
        vocabulary = data.user_vocabulary if recipients is None else recipients.vocabulary
        self._left_out = 0 if recipients is None else recipients.num_left_out
        self._not_served, self._why = data.users_not_served
        users, items = _tokens(vocabulary), _tokens(data.item_vocabulary)
        self._tokens = users, items
        kind = users.type
        if data.interactions.share is not None:  # the other processes have other users
            self._left_out = sum(_of_all(trainer, self._left_out, everywhere=True))
            large = pa.uint64() in _of_all(trainer, kind, everywhere=True)
            kind = pa.uint64() if large else kind
        schema = pa.schema(
            [("user", kind), ("rank", pa.int32()), ("item", items.type), ("score", pa.float32())]
        )
        if not trainer.is_global_zero:
            return
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
        ids, scores = (output.cpu() for output in outputs)
        users = (batch.users if batch.recipients is None else batch.recipients).cpu()
        assert self._tokens is not None
        tokens = _decode(self._tokens[0], users)  # another process may number its users by itself
        found: list[Lists] = _of_all(trainer, (tokens, ids.numpy(), scores.float().numpy()))
        for names, *lists in found:
            self._write(names, *map(torch.from_numpy, lists))

    def _write(self, names: Any, ids: Tensor, scores: Tensor) -> None:
        """Append the recommendations (B, n) of users (B,)."""
        import pyarrow as pa

        assert self._tokens is not None
        kept = ids != 0  # 0: fewer candidates were left than asked for
        served = int(kept.any(1).sum())
        self._users += served
        self._without += len(ids) - served
        rows = torch.arange(len(ids)).unsqueeze(1).expand_as(ids)
        ranks = torch.arange(1, ids.shape[1] + 1, dtype=torch.int32).expand_as(ids)
        columns = [
            names.take(pa.array(rows[kept].numpy())).cast(self._writer.schema.field("user").type),
            pa.array(ranks[kept].numpy()),
            _decode(self._tokens[1], ids[kept]),
            pa.array(scores[kept].numpy()),
        ]
        self._writer.write_table(pa.table(columns, schema=self._writer.schema))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the file and move it to its path."""
        self._stack.close()
        prediction = getattr(pl_module, "prediction", None)
        popular = sum(_of_all(trainer, 0 if prediction is None else prediction.num_popular))
        if trainer.is_global_zero:
            print(f"predictions: {self.output} ({self._summary(pl_module, popular)})")

    def _summary(self, model: LightningModule, popular: int) -> str:
        """Tell how many users were served, and how many were not and why."""
        said = f"{self._users:,} users"
        if popular:
            said += (
                f", {popular:,} of them without anything that the model knows, who got the most popular items"
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


def _of_all(trainer: Trainer, value: Any, everywhere: bool = False) -> list[Any]:
    """Return the values of all processes in the first one, or in each; else none."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    if everywhere:
        torch.distributed.all_gather_object(values, value)
        return values
    torch.distributed.gather_object(value, values if trainer.is_global_zero else None)
    return values if trainer.is_global_zero else []


def _tokens(vocabulary: Vocabulary) -> Any:
    # index 0 is padding, which is never written
    return token_array([None, *vocabulary.tokens])


def _decode(tokens: Any, ids: Tensor) -> Any:
    import pyarrow as pa

    return tokens.take(pa.array(ids.numpy()))
