"""Checkpoints that are whole or absent, on whatever file system they lie."""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import PicklingError, UnpicklingError
from typing import IO, Any, cast

import torch
from fsspec.implementations.local import LocalFileSystem
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.cloud_io import _is_local_file_protocol
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO

from lightning_croloss.common.archives import is_stored
from lightning_croloss.common.files import replacing
from lightning_croloss.common.leftovers import TEMPORARY, remove_dead_files, temporary_name
from lightning_croloss.errors import PretrainedError
from lightning_croloss.training.sharded.folder import (
    is_sharded_checkpoint,
    local_path,
    put_in_place,
    refuse_other_folder,
    remove_folder,
    rest_of,
)
from lightning_croloss.training.sharded.loading import fill_rows

#: What torch fails with on what is no checkpoint.
_UNREADABLE = (
    UnpicklingError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OSError,
)


#: The release of Lightning that wrote a checkpoint; none of this package's is older than 2.
_VERSION = re.compile(
    r"([2-9]|[1-9][0-9]{1,5})(\.[0-9]{1,9}){1,3}(\.?(a|b|rc|dev|post)[0-9]{1,9}){0,3}(\+[a-z0-9.]{1,40})?",
    re.ASCII,
)


def check_lightning_version(content: Mapping[str, Any], where: str) -> None:
    """Refuse a checkpoint that does not say which Lightning wrote it, which its reader looks for first.

    Args:
        content: of the checkpoint.
        where: what errors call it.

    Raises:
        PretrainedError: it names no release.
    """
    if not _VERSION.fullmatch(str(content.get("pytorch-lightning_version"))):
        raise PretrainedError(f"{where} is damaged: it does not say which Lightning has written it")


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its path, flushes it to the disk, and renames it.

    Lightning's own writes into ``TMPDIR`` and moves the file: from another file system that is a copy, and a
    process that ends meanwhile leaves half of it in place of the checkpoint before. Addresses such as
    ``s3://…`` are written as Lightning does. It also reads checkpoints that several processes have written as
    a folder (see ``croloss_sharded``), whole.

    Attributes:
        goes_on: whether what it reads is to go on with a run; else the weights are enough.
    """

    goes_on = True

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, or leave what is at ``path`` as it was.

        Raises:
            TypeError: there are storage options, or something in the checkpoint cannot be saved, such as the
                state of a callback.
            NotEnoughSpaceError: the disk is full.
        """
        if storage_options is not None or not _is_local_file_protocol(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = _local(path)
        if is_sharded_checkpoint(path) and not path.is_symlink():
            refuse_other_folder(path)
            new = temporary_name(path, TEMPORARY)
            self.save_checkpoint(checkpoint, new)
            put_in_place(new, path)
            return
        remove_dead_files(path, TEMPORARY, name=r".*\.ckpt")  # also those of a checkpoint that came later
        with replacing(path, extension=TEMPORARY) as temporary, temporary.open("wb") as file:
            output = _Output(file)
            try:
                torch.save(checkpoint, cast("IO[bytes]", output))
            except RuntimeError:
                if output.error is None:
                    raise
                raise output.error from None  # which torch replaces by a sentence about positions
            except (PicklingError, AttributeError, TypeError) as error:
                if (what := unpicklable(checkpoint)) is None:
                    raise
                raise TypeError(
                    f"{path.name} could not be written, and what was there stays as it was: {what} of the "
                    f"checkpoint cannot be saved ({' '.join(str(error).split())}); let it be plain values"
                ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; it runs no code, wherever it lies, unless ``weights_only`` is False.

        Raises:
            PretrainedError: it is a pipe or a device, on which reading may never end, or is damaged, or holds
                more than plain types.
            FileNotFoundError: there is none.
        """
        if is_sharded_checkpoint(path):
            content = self.load_checkpoint(rest_of(path), map_location, weights_only)
            return fill_rows(content, path, weights_alone=not self.goes_on)
        if _is_local_file_protocol(path):
            local = Path(str(path).removeprefix("file://"))
            if local.exists() and not local.is_file():
                raise PretrainedError(f"{str(path)!r} is not a checkpoint: it is not a regular file")
            if local.exists() and not is_stored(local):  # before anything is unpacked
                raise PretrainedError(f"{str(path)!r} is not a checkpoint of plain types, or is damaged")
        if weights_only is None and str(path).startswith("http"):
            weights_only = True  # else Lightning unpickles what comes from there
        try:
            content = super().load_checkpoint(path, map_location, weights_only)
        except _UNREADABLE as error:
            if isinstance(error, RuntimeError) and "PytorchStreamReader" not in str(error):
                raise
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before its beginning
                raise
            raise PretrainedError(
                f"{str(path)!r} is not a checkpoint of plain types, or is damaged"
            ) from error
        if not isinstance(content, dict):
            raise PretrainedError(f"{str(path)!r} is not a checkpoint of plain types, or is damaged")
        if "state_dict" in content:  # of a trainer
            check_lightning_version(content, repr(str(path)))
        return content

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint; a link to it beside it keeps its content until it leads elsewhere."""
        if is_sharded_checkpoint(path):
            remove_folder(local_path(path))
            return
        if _is_local_file_protocol(path):
            _keep_for_links(_local(path))
        super().remove_checkpoint(path)


class _Output:
    """A file for ``torch.save`` that remembers what went wrong."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def unpicklable(checkpoint: Mapping[str, Any]) -> str | None:
    """Return which entry of a checkpoint cannot be saved, None if all can.

    Args:
        checkpoint: what a trainer is about to write; its tensors are not looked at.
    """
    for name, section in checkpoint.items():
        if name in ("state_dict", "optimizer_states"):
            continue
        named = section.items() if isinstance(section, dict) else [("", section)]
        for key, entry in named:
            try:
                pickle.dumps(entry)
            except Exception:  # whatever an object's own way to be saved fails with
                return f"{name!r}" if key == "" else f"{str(key).partition('{')[0]!r} in {name!r}"
    return None


def write_whole_checkpoints(trainer: Trainer) -> None:
    """Let a trainer write its checkpoints by :class:`WholeCheckpointIO`, unless it was given another way."""
    strategy = trainer.strategy
    found = strategy.checkpoint_io
    if type(found) is TorchCheckpointIO:
        strategy.checkpoint_io = found = WholeCheckpointIO()
    if isinstance(found, WholeCheckpointIO):
        found.goes_on = trainer.state.fn == "fit"
    while isinstance(found, _WrappingCheckpointIO):
        inner = found.checkpoint_io
        if type(inner) is TorchCheckpointIO:
            found._checkpoint_io = WholeCheckpointIO()
        found = inner  # type: ignore[assignment]
    for callback in trainer.checkpoint_callbacks:
        if (
            isinstance(callback, ModelCheckpoint)
            and callback.save_last == "link"
            and type(callback)._link_checkpoint is ModelCheckpoint._link_checkpoint
        ):
            callback._link_checkpoint = _link_checkpoint  # type: ignore[method-assign]


def _local(path: str | Path) -> Path:
    """Return the file that a path or an address means to whatever reads checkpoints: ``~`` is the home."""
    return Path(LocalFileSystem._strip_protocol(str(path)))


def _keep_for_links(path: Path) -> None:
    """Make links beside a file that lead to it names of its content, so that it may be removed."""
    if not path.is_file() or path.is_symlink():
        return
    for link in path.parent.iterdir():
        if link.is_symlink() and link != path and link.exists() and link.samefile(path):
            temporary = temporary_name(link, TEMPORARY)
            try:
                os.link(path, temporary)
            except OSError:  # the file system knows no second names: the link leads nowhere for a moment
                return
            os.replace(temporary, link)


def _link_checkpoint(trainer: Trainer, filepath: str, linkpath: str) -> None:
    """Let ``last.ckpt`` lead to another checkpoint, in one step; Lightning removes it first."""
    link = Path(linkpath)
    if trainer.is_global_zero and os.path.abspath(filepath) != os.path.abspath(linkpath):
        temporary = temporary_name(link, TEMPORARY)
        try:
            os.symlink(os.path.relpath(filepath, link.parent), temporary)
        except OSError:  # the file system knows no links
            with replacing(link, extension=TEMPORARY) as copy:
                shutil.copyfile(filepath, copy)
        else:
            if is_sharded_checkpoint(link) and not link.is_symlink():
                put_in_place(temporary, link)
            else:
                os.replace(temporary, link)
    trainer.strategy.barrier()
