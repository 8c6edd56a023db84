"""Reading a checkpoint in shards, into any number of processes or one whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from lightning_croloss.common.finite import is_finite, not_finite
from lightning_croloss.errors import PretrainedError
from lightning_croloss.sharding.layout import as_dtensor
from lightning_croloss.sharding.messages import device_of_processes
from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.sharded.folder import FORMAT_VERSION, KEY, REST, ROWS, local_path
from lightning_croloss.training.sharded.rows import put_rows, table_of
from lightning_croloss.training.sharded.safe_reader import TYPES, SafeReader

_TYPES = {str(dtype): dtype for dtype in TYPES}
_WEIGHTS = "state_dict."


def fill_rows(
    checkpoint: dict[str, Any],
    folder: str | Path,
    *,
    shards: Mapping[str, RowShards] | None = None,
    weights_alone: bool = False,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Put the rows into the ordinary part of a checkpoint in shards, and return it.

    Args:
        checkpoint: what the ordinary file of the folder holds.
        folder: the folder.
        shards: of each table; every process then calls this, and gets its rows. None = one process gets all.
        weights_alone: leave out the optimizer's state and gradients that wait; the checkpoint has then no
            state of a run to go on with.
        device: where the rows go; on "meta" they have shapes and no values.

    Raises:
        PretrainedError: the folder is damaged, of a newer format, or of tables of other sizes.
    """
    folder = local_path(folder)
    entries = entries_of(checkpoint.pop(KEY, None), folder)
    if weights_alone:
        entries = {name: entry for name, entry in entries.items() if name.startswith(_WEIGHTS)}
        for name in ("optimizer_states", "lr_schedulers"):
            checkpoint.pop(name, None)
    _put(checkpoint, folder, entries, shards or {}, torch.device(device))
    return checkpoint


def fill_own_weights(
    checkpoint: dict[str, Any], folder: str | Path, shards: Mapping[str, RowShards]
) -> dict[str, Any]:
    """Put this process's rows of the weights into a checkpoint that was read without them, and return it.

    Every process calls it, when it has built the model and so knows the shards.

    Args:
        checkpoint: what :func:`fill_rows` made, on "meta".
        folder: the folder that it was read from.
        shards: of each table.

    Raises:
        PretrainedError: the folder is damaged, or of tables of other sizes; or any process's rows are not all
            finite, in all processes.
    """
    weights = checkpoint["state_dict"]
    entries = {
        f"{_WEIGHTS}{name}": (tuple(value.shape), value.dtype)
        for name, value in weights.items()
        if value.is_meta
    }
    _put(checkpoint, local_path(folder), entries, shards, torch.device("cpu"))
    check_own_rows(weights, shards, str(folder))
    return checkpoint


def check_own_rows(weights: Mapping[str, Any], shards: Mapping[str, RowShards], where: str) -> None:
    """Refuse weights of which a row of any process is not finite, in all processes, which call it together.

    Args:
        weights: this process's weights.
        shards: of each table.
        where: what they were read from, for errors.

    Raises:
        PretrainedError: naming the table.
    """
    found = [weights.get(f"{name}.weight") for name in shards]
    wrong = [isinstance(value, Tensor) and not is_finite(value) for value in found]
    said = torch.tensor(wrong, dtype=torch.int32, device=device_of_processes())
    distributed.all_reduce(said, distributed.ReduceOp.MAX)
    for name, told in zip(shards, said.tolist(), strict=True):
        if told:
            raise PretrainedError(not_finite(where, f"{name}.weight"))


def _put(
    checkpoint: dict[str, Any],
    folder: Path,
    entries: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    shards: Mapping[str, RowShards],
    device: torch.device,
) -> None:
    """Read the rows of tensors and put them into a checkpoint."""
    reader = SafeReader(folder / ROWS, entries)
    spread = {name: each for name, each in shards.items() if each.num_shards > 1}
    rows, views = {}, {}
    mesh = mesh_for(device) if spread else None
    for name, (shape, dtype) in entries.items():
        of_table = spread.get(str(table_of(name)))
        if spread and (of_table is None or of_table.num_rows != shape[0]):
            expected = "none" if of_table is None else f"{of_table.num_rows:,}"
            raise PretrainedError(
                f"{str(folder)!r} holds a table of {shape[0]:,} rows as {name!r}, but the model's has "
                f"{expected}: use the data and the filters it was trained with"
            )
        size = shape if of_table is None else (of_table.num_own, *shape[1:])
        rows[name] = torch.empty(size, dtype=dtype, device=device)
        views[name] = rows[name] if of_table is None else as_dtensor(rows[name], of_table, mesh)
    if rows and device.type != "meta":
        _read(lambda: load({**views}, storage_reader=reader, no_dist=not spread), folder)
    try:
        put_rows(checkpoint, rows)
    except ValueError as error:
        raise PretrainedError(f"{str(folder)!r} is a checkpoint in shards that is damaged: {error}") from None


def entries_of(described: Any, folder: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return shape and type of each tensor whose rows are in shards, by its path.

    Args:
        described: what the ordinary file says of them.
        folder: the folder, for errors.

    Raises:
        PretrainedError: it is damaged or of a newer format.
    """
    fault = f"{str(folder)!r} is a checkpoint in shards that is damaged: {{}}"
    version = described.get("format_version") if isinstance(described, dict) else None
    if not isinstance(version, int):
        raise PretrainedError(fault.format("it does not say which tensors are in shards"))
    if version > FORMAT_VERSION:
        raise PretrainedError(
            f"{str(folder)!r} is a checkpoint in shards of format version {version}, this lightning-croloss "
            f"reads up to {FORMAT_VERSION}: install the release that wrote it, or a newer one"
        )
    listed = described.get("rows")
    found = {}
    for name, entry in listed.items() if isinstance(listed, dict) else ():
        right = (
            table_of(name) is not None
            and isinstance(entry, (list, tuple))
            and len(entry) == 2
            and isinstance(entry[0], (list, tuple))
            and 1 <= len(entry[0]) <= 2
            and all(type(size) is int and 0 < size < 2**48 for size in entry[0])
            and entry[1] in _TYPES
        )
        if not right:
            raise PretrainedError(fault.format(f"it describes {name!r:.80} as {entry!r:.80}"))
        found[name] = (tuple(entry[0]), _TYPES[entry[1]])
    return found


def refuse_part(checkpoint: Mapping[str, Any], where: str) -> None:
    """Refuse the ordinary part of a checkpoint in shards that is read as if it were all.

    Raises:
        PretrainedError: it is one, whose rows were not put into it.
    """
    if KEY in checkpoint:
        raise PretrainedError(
            f"{where} is a part of a checkpoint in shards, without its tables: give the folder that held it "
            f"as {REST}, which has the name of the checkpoint"
        )


def described_rows(rows: Mapping[str, tuple[str, Tensor]], shards: Mapping[str, RowShards]) -> dict[str, Any]:
    """Return what :func:`entries_of` reads, of the rows of this process."""
    return {
        "format_version": FORMAT_VERSION,
        "rows": {
            path: [[shards[name].num_rows, *values.shape[1:]], str(values.dtype)]
            for path, (name, values) in rows.items()
        },
    }


def mesh_for(device: torch.device) -> DeviceMesh:
    """Return the mesh of all processes, whose tensors are on a device."""
    return init_device_mesh(device.type, (distributed.get_world_size(),))


def _read(read: Callable[[], object], folder: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one process reads alone
            read()
    except CheckpointException as error:
        first = next(iter(error.failures.values()))[0]
        if isinstance(first, PretrainedError):
            raise first from None
        raise PretrainedError(
            f"{str(folder)!r} is a checkpoint in shards that cannot be read: {' '.join(str(first).split())}"
        ) from error
