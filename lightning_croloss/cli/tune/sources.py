"""The files that a search reads: one that goes on must find what it began with."""

from __future__ import annotations

from pathlib import Path

from croloss_serving.common.hashing import sha256_of_file
from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.data.files import files_of_data
from lightning_croloss.cli.tune.base import Config
from lightning_croloss.pretrained.layout import MANIFEST
from lightning_croloss.pretrained.registry import find_pretrained
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint


def sources_of(config: Config) -> dict[str, str]:
    """Return each file of the data of a config, or of what it starts from, with its checksum.

    Args:
        config: of a fit.

    Raises:
        ValueError: an argument of the data is unusable.
        DataError: the data are not there.
        PretrainedError: there is no such model.
        MissingExtraError: a package that finding the files needs is not installed.
    """
    section = config.get("data") or {}
    files = {str(path): path for path in files_of_data(section)}
    files |= _of_pretrained(config.get("pretrained"))
    return {name: sha256_of_file(path) for name, path in files.items()}


def _of_pretrained(name: str | None) -> dict[str, Path]:
    """Return the files of a pretrained model, by what the config calls it.

    For a folder its manifest stands, which holds the checksum of each.
    """
    if not name:
        return {}
    path = expanded(name)
    if is_sharded_checkpoint(name):
        return {str(each): each for each in sorted(path.rglob("*")) if each.is_file()}
    found = path if path.is_file() else find_pretrained(name) / MANIFEST
    return {name: found} if found.is_file() else {}  # the run tells why a folder is no model


__all__ = ["sources_of"]
