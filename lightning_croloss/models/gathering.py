"""gather_checkpoint: one ordinary file of what several processes have written in shards."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.space import check_space
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import read_checkpoint
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint, local_path, rest_of
from lightning_croloss.training.whole_checkpoints import WholeCheckpointIO


def gather_checkpoint(folder: str | PathLike[str], file: str | PathLike[str]) -> None:
    """Write the model of a checkpoint in shards as one ordinary checkpoint, which any machine reads.

    The weights are in memory once, whole, and neither the optimizer's state nor anything else of the run: the
    file is to be loaded, exported or published. To go on with a run give the folder itself.

    Args:
        folder: a checkpoint of the strategy ``croloss_sharded``.
        file: the file to write; one that is there is replaced.

    Raises:
        FileNotFoundError: there is no such folder.
        IsADirectoryError: there is another folder at the path of the file.
        FileExistsError: the file is to take the place of the checkpoint, or to lie in it.
        PretrainedError: the folder is no such checkpoint, or is damaged.
        NotEnoughSpaceError: the weights alone take more than is free where the file is to lie.
    """
    folder, file = local_path(folder), expanded(file)
    if file.is_dir() and not is_sharded_checkpoint(file):
        raise IsADirectoryError(f"{file} is a folder, not a file to write: name one in it")
    if not Path(rest_of(folder)).exists():
        raise FileNotFoundError(f"{folder} cannot be read: there is no such checkpoint")
    if Path(folder).is_dir() and not is_sharded_checkpoint(folder):
        raise PretrainedError(
            f"{str(folder)!r} is a folder, and not one that croloss_sharded wrote as a checkpoint, whole"
        )
    if not is_sharded_checkpoint(folder):
        raise PretrainedError(f"{str(folder)!r} is not a checkpoint in shards, but may be loaded as it is")
    target, source = Path(file).resolve(), Path(folder).resolve()
    if source in (target, *target.parents):
        raise FileExistsError(
            f"{file} cannot be written: it is {folder} or lies in it, without which training cannot go on; "
            "name a file elsewhere"
        )
    described = read_checkpoint(folder, rows=False)["state_dict"].values()
    needed = sum(weight.numel() * weight.element_size() for weight in described)
    check_space(Path(file), needed, "the checkpoint, of which the weights alone count here,")
    WholeCheckpointIO().save_checkpoint(read_checkpoint(folder), Path(file))
