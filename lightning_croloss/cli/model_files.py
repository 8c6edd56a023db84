"""The files of a model that an option names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from croloss_serving.common.home_folder import expanded
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.layout import FORMAT, MANIFEST
from lightning_croloss.pretrained.registry import find_pretrained
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint, local_path


def files_of_model(name: str) -> Iterator[Path]:
    """Yield the files of a model on this machine, or the folder that is a checkpoint in shards.

    Args:
        name: a checkpoint, the folder of a pretrained model or its name in the zoo; what is none of them, an
            address for example, has no files here.
    """
    path = local_path(name)
    if path.is_file() or is_sharded_checkpoint(path):
        yield path
    elif "://" not in name:
        with suppress(PretrainedError):  # it is told where the model is loaded
            folder = find_pretrained(expanded(name))
            yield from (folder / each for each in (MANIFEST, *FORMAT.read(folder, ())["files"]))


__all__ = ["files_of_model"]
