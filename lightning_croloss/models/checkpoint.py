"""Reading checkpoints: plain types only, every format version up to today's, with today's class paths."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.archives import is_intact, is_stored
from lightning_croloss.common.former_names import translated
from lightning_croloss.common.plain_content import check_expansion, check_hyperparameters, check_tensors
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.configurable import class_path
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.cutoffs import measurable
from lightning_croloss.models.declared_sizes import built_to_fit, elements
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint, rest_of
from lightning_croloss.training.sharded.loading import fill_rows, refuse_part

#: Where a checkpoint keeps what this package adds to Lightning's own content.
KEY = "lightning_croloss"
#: Version of that content. Version 0, without a number, names classes by the modules that defined them.
FORMAT_VERSION = 1
#: What errors call a file object that has no name.
_NAMELESS = "the file"
_DAMAGED = "is not a checkpoint of plain types, or is damaged"
#: What reading fails with, of an archive whose end is cut off, or of something else than an archive.
_UNREADABLE = (
    UnpicklingError,
    EOFError,
    RuntimeError,
    LookupError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    MemoryError,
    OverflowError,
)
#: Bytes that tell what a file is.
_START = 512

Source = str | PathLike[str] | IO[bytes]


def read_checkpoint(
    source: Source,
    map_location: Any = "cpu",
    weights_only: bool = True,
    mmap: bool = False,
    rows: bool = True,
) -> dict[str, Any]:
    """Return the content of a checkpoint, as this release would have written it.

    One in shards, a folder, comes whole, but without the state of its run.

    Args:
        source: the file, its path, or an address that fsspec knows (``s3://…``); or the folder.
        map_location: as in ``torch.load``.
        weights_only: whether to refuse anything but plain types and tensors, which cannot run code.
        mmap: whether to leave the tensors on the disk until they are used; for a path only.
        rows: whether the tables in shards are read; else they have shapes and no values.

    Raises:
        FileNotFoundError: there is no such file.
        PretrainedError: it is not a checkpoint, is damaged, or is of a newer format version.
    """
    if isinstance(source, (str, PathLike)):
        source = source if "://" in str(source) else expanded(source)
    described_only = False  # no values are wanted
    if isinstance(map_location, (str, torch.device)):
        described_only = torch.device(map_location).type == "meta"
        torch.empty(0, device=map_location)  # a device that is not there is no fault of the file
    if is_sharded_checkpoint(source):
        rest = rest_of(source)
        content = _loaded(rest, rest, map_location, weights_only, mmap or None)
    elif isinstance(source, (str, PathLike)) and "://" in str(source):
        with _remote(str(source)) as file:
            content = _loaded(file, str(source), map_location, weights_only, None)
    elif isinstance(source, (str, PathLike)) and Path(source).is_dir():
        raise IsADirectoryError(
            f"{source} is a folder, not a checkpoint: give the .ckpt file in it, or load a folder of "
            "save_pretrained with load_pretrained"
        )
    else:
        _refuse_pipe(source)
        content = _loaded(source, source, map_location, weights_only, mmap or None)
    if not isinstance(content, dict):
        raise PretrainedError(f"{_quoted(source)} is not a checkpoint: it holds a {type(content).__name__}")
    if weights_only:
        check_expansion(content, _name(source))
        if not described_only:
            check_tensors(content, _name(source))
    if content and all(isinstance(entry, torch.Tensor) for entry in content.values()):
        raise PretrainedError(
            f"{_quoted(source)} is not a checkpoint: it holds weights alone, and not the model they are for: "
            "build that model, and use its load_state_dict"
        )
    check_version(content, _name(source))
    if is_sharded_checkpoint(source):
        fill_rows(
            content,
            str(source),
            weights_alone=True,
            device="meta" if described_only or not rows else "cpu",
        )
        if rows and isinstance(map_location, (str, torch.device)):
            weights = content.get("state_dict", {})
            weights.update({name: value.to(map_location) for name, value in weights.items()})
    refuse_part(content, _name(source))
    if "hyper_parameters" in content:
        given = content["hyper_parameters"]
        if not isinstance(given, Mapping):
            raise PretrainedError(
                f"{_name(source)} is not a checkpoint of this package: its hyperparameters are a "
                f"{type(given).__name__}, not a dictionary"
            )
        if weights_only:
            check_hyperparameters(given, _name(source))
        content["hyper_parameters"] = translated(dict(given))
    return content


def check_intact(source: Source) -> None:
    """Refuse a checkpoint of which a record does not have its checksum.

    Raises:
        PretrainedError: naming the file.
    """
    source = rest_of(source)
    if isinstance(source, (str, PathLike)) and "://" in str(source):
        with _remote(str(source)) as file:
            intact = is_intact(file)
    else:
        intact = is_intact(source)
    if not intact:
        raise PretrainedError(f"{_quoted(source)} {_DAMAGED}: its content does not match its checksums")


@contextmanager
def _remote(address: str) -> Iterator[Any]:
    """Open a file of another machine; what its file system says becomes one sentence.

    Raises:
        FileNotFoundError: there is no such file.
        PretrainedError: the address cannot be read.
    """
    import fsspec

    try:
        opened = fsspec.open(address, "rb").open()
    except FileNotFoundError:
        raise FileNotFoundError(f"{address} cannot be read: there is no such file") from None
    except (OSError, ImportError, ValueError) as error:
        told = " ".join(str(error).split())
        why = "there is no such file, or its server does not answer" if told in ("", address) else told
        raise PretrainedError(f"{address} cannot be read: {why}") from error
    with opened as file:
        yield file


def _refuse_pipe(source: Source) -> None:
    """Refuse what is no file: opening or reading it may never end."""
    if isinstance(source, (str, PathLike)) and Path(source).exists() and not Path(source).is_file():
        raise PretrainedError(
            f"{_quoted(source)} is not a checkpoint: it is a pipe or a device, not a regular file"
        )


def _loaded(opened: Source, source: Source, map_location: Any, weights_only: bool, mmap: bool | None) -> Any:
    if not is_stored(opened):  # before anything is unpacked
        why = _appearance(opened) or ": it is compressed, or declares more than it holds"
        raise PretrainedError(f"{_quoted(source)} {_DAMAGED}{why}")
    try:
        content = torch.load(opened, map_location=map_location, weights_only=weights_only, mmap=mmap)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, None):
            raise
        raise PretrainedError(f"{_quoted(source)} {_DAMAGED}{_appearance(opened)}") from None
    if not is_intact(opened):
        raise PretrainedError(f"{_quoted(source)} {_DAMAGED}: its content does not match its checksums")
    return content


def _appearance(source: Source) -> str:
    """Say what a file that is no checkpoint looks like."""
    if isinstance(source, (str, PathLike)):
        with Path(source).open("rb") as file:
            return _appearance(file)
    source.seek(0)
    start = source.read(_START)
    if not start:
        return ": it is empty"
    if start.startswith(b"PK"):
        try:
            names = zipfile.ZipFile(source).namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
            return ": its end is missing; copy it again"
        if not any(name.endswith("/data.pkl") for name in names):
            return ": it is a zip archive of something else"
        return ""
    if start[8:9] == b"{" and start[7] == 0:
        return ": it is a safetensors file, weights alone; give the folder of save_pretrained that holds it"
    if b"\0" not in start and start.isascii():
        return ": it is a text"
    return ""


def check_version(checkpoint: dict[str, Any], where: str) -> None:
    """Refuse a checkpoint that a newer release has written.

    Raises:
        PretrainedError: naming both versions, or the metadata if there is none to be read.
    """
    ours = checkpoint.get(KEY, {})
    if not isinstance(ours, dict):
        raise PretrainedError(f"{where} is damaged: its metadata is a {type(ours).__name__}")
    version = ours.get("format_version", 0)
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
        "init_args": measurable(
            {name: value for name, value in arguments.items() if not name.startswith("_")}
        ),
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
        PretrainedError: a class is not trusted, or does not take the arguments, or the model is much larger
            than the weights.
    """
    described = described_model(checkpoint)
    described["init_args"] |= replaced
    if described["class_path"] is None:
        if KEY not in checkpoint:
            raise PretrainedError(
                f"{where} is not a checkpoint of this package: it does not name its model, and was written "
                "by another program"
            )
        described["class_path"] = class_path(cls)
    weights = tensors_of(checkpoint, where)
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    return built_to_fit(lambda: trusted.build(described, where), shapes, elements(weights), where)


def tensors_of(checkpoint: Mapping[str, Any], where: str) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint.

    Raises:
        PretrainedError: there are none, or not plain ones.
    """
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, dict):
        raise PretrainedError(f"{where} is not a checkpoint: it holds no weights")
    tensors = {str(name): value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise PretrainedError(f"{where} is damaged: {name!r} is not a plain tensor")
    return tensors


def _name(source: Source) -> str:
    return str(Path(source)) if isinstance(source, (str, PathLike)) else getattr(source, "name", _NAMELESS)


def _quoted(source: Source) -> str:
    name = _name(source)
    return name if name == _NAMELESS else repr(name)
