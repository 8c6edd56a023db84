"""Reading checkpoints: plain types only, every format version up to today's, with today's class paths."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch

from lightning_croloss.common.former_names import translated
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.configurable import class_path
from lightning_croloss.errors import PretrainedError

#: Where a checkpoint keeps what this package adds to Lightning's own content.
KEY = "lightning_croloss"
#: Version of that content. Version 0, without a number, names classes by the modules that defined them.
FORMAT_VERSION = 1
#: What errors call a file object that has no name.
_NAMELESS = "the file"

Source = str | PathLike[str] | IO[bytes]


def read_checkpoint(
    source: Source, map_location: Any = "cpu", weights_only: bool = True, mmap: bool = False
) -> dict[str, Any]:
    """Return the content of a checkpoint, as this release would have written it.

    Args:
        source: the file, its path, or an address that fsspec knows (``s3://…``).
        map_location: as in ``torch.load``.
        weights_only: whether to refuse anything but plain types and tensors, which cannot run code.
        mmap: whether to leave the tensors on the disk until they are used; for a path only.

    Raises:
        FileNotFoundError: there is no such file.
        PretrainedError: it is not a checkpoint, is damaged, or is of a newer format version.
    """
    if isinstance(map_location, (str, torch.device)):
        torch.empty(0, device=map_location)  # a device that is not there is no fault of the file
    try:
        if isinstance(source, (str, PathLike)) and "://" in str(source):
            import fsspec

            with fsspec.open(str(source), "rb") as file:
                content = torch.load(file, map_location=map_location, weights_only=weights_only)
        else:
            content = torch.load(
                source, map_location=map_location, weights_only=weights_only, mmap=mmap or None
            )
    except (UnpicklingError, EOFError, RuntimeError, KeyError, OSError) as error:
        # what reading an archive whose end is cut off fails with
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise PretrainedError(
            f"{_quoted(source)} is not a checkpoint of plain types, or is damaged"
        ) from None
    if not isinstance(content, dict):
        raise PretrainedError(f"{_quoted(source)} is not a checkpoint: it holds a {type(content).__name__}")
    check_version(content, _name(source))
    if "hyper_parameters" in content:
        given = content["hyper_parameters"]
        if not isinstance(given, Mapping):
            raise PretrainedError(
                f"{_name(source)} is not a checkpoint of this package: its hyperparameters are a "
                f"{type(given).__name__}, not a dictionary"
            )
        content["hyper_parameters"] = translated(dict(given))
    return content


def check_version(checkpoint: dict[str, Any], where: str) -> None:
    """Refuse a checkpoint that a newer release has written.

    Raises:
        PretrainedError: naming both versions.
    """
    ours = checkpoint.get(KEY)
    version = ours.get("format_version", 0) if isinstance(ours, dict) else 0
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise PretrainedError(
            f"{where} is of format version {version!r}, this lightning-croloss reads up to {FORMAT_VERSION}: "
            "install the release that wrote it, or a newer one"
        )


def described_model(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the model of a checkpoint as a config writes it: ``class_path`` and ``init_args``."""
    arguments = dict(checkpoint.get("hyper_parameters") or {})
    path = arguments.pop("_class_path", None)
    return {
        "class_path": path,
        "init_args": {name: value for name, value in arguments.items() if not name.startswith("_")},
    }


def built_model(
    cls: type, checkpoint: dict[str, Any], where: str, trusted: TrustedClasses, replaced: dict[str, Any]
) -> Any:
    """Build the model of a checkpoint, without its weights.

    Args:
        cls: the class of a checkpoint that does not name one.
        checkpoint: the content, see :func:`read_checkpoint`.
        where: the file, for errors.
        trusted: the classes that it may name.
        replaced: arguments of the constructor in place of the checkpoint's, which may be objects.

    Raises:
        PretrainedError: a class is not trusted, or does not take the arguments.
    """
    described = described_model(checkpoint)
    described["init_args"] |= replaced
    if described["class_path"] is None:
        described["class_path"] = class_path(cls)
    return trusted.build(described, where)


def _name(source: Source) -> str:
    return str(Path(source)) if isinstance(source, (str, PathLike)) else getattr(source, "name", _NAMELESS)


def _quoted(source: Source) -> str:
    name = _name(source)
    return name if name == _NAMELESS else repr(name)
