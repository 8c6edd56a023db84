"""Writing a checkpoint in shards: each process its own rows, one of them all else, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.cloud_io import _is_local_file_protocol
from torch import Tensor, distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import StorageMeta
from torch.distributed.checkpoint.state_dict_saver import save

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.files import replacing_folder
from lightning_croloss.common.system_errors import FULL
from lightning_croloss.errors import NotEnoughSpaceError
from lightning_croloss.sharding.layout import as_dtensor
from lightning_croloss.sharding.messages import device_of_processes
from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.sharded.folder import KEY, REST, ROWS, local_path, refuse_other_folder
from lightning_croloss.training.sharded.loading import described_rows, mesh_for
from lightning_croloss.training.sharded.rows import take_rows
from lightning_croloss.training.whole_checkpoints import WholeCheckpointIO

#: What is told of a full disk.
_FULL = (
    "No space left on device: {} could not be written and stays as it was; free some space on its file "
    "system, or choose another folder"
)


class _Writer(FileSystemWriter):
    """Writes rows without the path they are written to: a temporary one, below a folder of the user's."""

    def storage_meta(self) -> StorageMeta:
        """Return what is told of the writing."""
        return StorageMeta(save_id=self.save_id)


def save_in_shards(
    checkpoint: dict[str, Any],
    path: str | Path,
    shards: Mapping[str, RowShards],
    optimized: Sequence[Mapping[int, str]],
) -> None:
    """Write a checkpoint as a folder, or leave what is at ``path`` as it was; every process calls it.

    Args:
        checkpoint: what Lightning has gathered in this process.
        path: the folder; that of the first process counts.
        shards: of each table.
        optimized: which parameters of the optimizers are which tables.

    Raises:
        OSError: it cannot be written; on all processes.
        TypeError: something in it cannot be saved; on all processes.
    """
    rows = take_rows(checkpoint, shards, optimized)
    mesh = mesh_for(next(values for _, values in rows.values()).device)
    views: dict[str, Tensor] = {
        name: as_dtensor(values.contiguous(), shards[table], mesh) for name, (table, values) in rows.items()
    }
    first = distributed.get_rank() == 0
    with ExitStack() as written:  # of the first process: what else is in it happens there alone
        problem: Exception | None = None
        new = ""
        if first:
            try:
                refuse_other_folder(place := _local(path))
                # a link, such as the last.ckpt of an earlier run, is replaced, as an ordinary one would be
                new = str(written.enter_context(replacing_folder(place, overwrite=True, link=True)))
                content = {**checkpoint, KEY: described_rows(rows, shards)}
                WholeCheckpointIO().save_checkpoint(content, Path(new) / REST)
            except NotEnoughSpaceError:  # which names the temporary file
                problem = NotEnoughSpaceError(_FULL.format(path))
            except Exception as error:  # the others must not wait for what never comes
                problem = error
        folder = _agreed(problem, new)
        try:
            save({**views}, storage_writer=_Writer(Path(folder) / ROWS))
        except CheckpointException as error:
            cause = next(iter(error.failures.values()))[0]
            told = f"{path} could not be written: {cause}"
            number = getattr(cause, "errno", None)
            if number in FULL:
                raise NotEnoughSpaceError(_FULL.format(path)) from error
            raise (OSError(told) if number is None else OSError(number, told)) from error
        try:
            written.close()  # puts it to its place
        except OSError as error:
            problem = error
        _agreed(problem, "")


def _local(path: str | Path) -> Path:
    if not _is_local_file_protocol(path):
        raise OSError(
            f"croloss_sharded keeps checkpoints in a folder that all processes share, not at {path}: set the "
            "dirpath of ModelCheckpoint to one"
        )
    return expanded(local_path(path)).absolute()


def _agreed(problem: Exception | None, told: str) -> str:
    """Return what the first process tells; raise its problem on all."""
    sent = problem
    if not isinstance(problem, (OSError, TypeError, type(None))):  # another may not come through
        sent = RuntimeError(f"the first process could not write the checkpoint: {problem}")
    said: list[Any] = [sent, told]
    distributed.broadcast_object_list(said, 0, device=device_of_processes())
    if problem is not None:
        raise problem
    if said[0] is not None:
        raise said[0]
    return str(said[1])
