"""The tensors of a checkpoint that have a row for each id: taken out of it, and put back in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.sharded.tables import TABLES

#: Which rows of a gradient in shards are there, where it is a sparse one.
TOUCHED = ".touched"
_TABLE = rf"(?P<table>{'|'.join(TABLES)})"
_PATHS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"state_dict\.{_TABLE}\.weight",
        rf"gradients\.{_TABLE}\.weight({re.escape(TOUCHED)})?",
        rf"optimizer_states\.[0-9]{{1,4}}\.state\.[0-9]{{1,6}}\.[a-z_0-9]{{1,40}}\.{_TABLE}",
    )
)


def table_of(path: object) -> str | None:
    """Return the table whose rows a path means; None if there is no such path."""
    found = [match for pattern in _PATHS if isinstance(path, str) and (match := pattern.fullmatch(path))]
    return found[0]["table"] if found else None


def optimized_tables(optimizers: Sequence[Optimizer], weights: Mapping[str, Tensor]) -> list[dict[int, str]]:
    """Return for each optimizer which of its parameters, numbered as in its state, are which tables.

    Args:
        optimizers: the optimizers.
        weights: the weights of the tables in shards.
    """
    names = {id(weight): name for name, weight in weights.items()}
    found = []
    for optimizer in optimizers:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        numbered = {number: names.get(id(parameter)) for number, parameter in enumerate(parameters)}
        found.append({number: name for number, name in numbered.items() if name is not None})
    return found


def take_rows(
    checkpoint: dict[str, Any], shards: Mapping[str, RowShards], optimized: Sequence[Mapping[int, str]]
) -> dict[str, tuple[str, Tensor]]:
    """Take the rows of this process out of a checkpoint, and leave the rest in it.

    Args:
        checkpoint: what Lightning is about to write; dictionaries of living objects stay as they are.
        shards: of each table.
        optimized: see :func:`optimized_tables`.

    Returns:
        By their paths the table whose rows they are, and the rows (own rows, …).
    """
    rows: dict[str, tuple[str, Tensor]] = {}
    weights = checkpoint["state_dict"]
    for name in shards:
        rows[f"state_dict.{name}.weight"] = name, weights.pop(f"{name}.weight")
    if "optimizer_states" in checkpoint:
        kept = enumerate(zip(checkpoint["optimizer_states"], optimized, strict=True))
        checkpoint["optimizer_states"] = [
            _without_rows(number, state, tables, shards, rows) for number, (state, tables) in kept
        ]
    gradients = _gradients(checkpoint)
    for name, own in shards.items():
        gradient = gradients.pop(f"{name}.weight", None)
        if gradient is None:
            continue
        if gradient.is_sparse:
            touched = torch.zeros(own.num_own, dtype=torch.bool, device=gradient.device)
            touched[gradient.coalesce().indices()[0]] = True
            rows[f"gradients.{name}.weight{TOUCHED}"] = name, touched
        rows[f"gradients.{name}.weight"] = name, gradient.to_dense()
    return rows


def put_rows(checkpoint: dict[str, Any], rows: Mapping[str, Tensor]) -> None:
    """Put rows into a checkpoint where :func:`take_rows` found them.

    Raises:
        ValueError: the checkpoint has no such place.
    """
    for path, values in rows.items():
        kind, *parts = path.split(".")
        try:
            if kind == "state_dict":
                checkpoint["state_dict"][".".join(parts)] = values
            elif kind == "optimizer_states":
                number, _, parameter, key, _ = parts
                checkpoint[kind][int(number)]["state"][int(parameter)][key] = values
            elif not path.endswith(TOUCHED):
                touched = rows.get(path + TOUCHED)
                if touched is not None:
                    indices = touched.nonzero().T
                    values = torch.sparse_coo_tensor(
                        indices, values[indices[0]], values.shape, is_coalesced=True
                    )
                _gradients(checkpoint)[".".join(parts)] = values
        except (LookupError, TypeError, AttributeError, RuntimeError):
            raise ValueError(f"it has no place for {path!r}") from None


def keep_own_rows(checkpoint: dict[str, Any], shards: Mapping[str, RowShards]) -> None:
    """Keep of the weights and waiting gradients of a whole checkpoint the rows of this process.

    What is not as large as the whole table stays, for others to refuse.
    """
    gradients = _gradients(checkpoint)
    weights = checkpoint.get("state_dict")
    for name, own in shards.items():
        for values in (weights, gradients):
            whole = values.get(f"{name}.weight") if isinstance(values, dict) else None
            if isinstance(whole, Tensor) and whole.shape[:1] == (own.num_rows,):
                values[f"{name}.weight"] = own_part(whole, own)  # type: ignore[index]


def keep_own_states(
    optimizers: Sequence[Optimizer],
    states: Sequence[Any],
    weights: Mapping[str, Tensor],
    shards: Mapping[str, RowShards],
) -> None:
    """Keep of whole states of optimizers the rows of this process, in place, unless that was done before."""
    for tables, state in zip(optimized_tables(optimizers, weights), states, strict=False):
        kept = state.get("state") if isinstance(state, dict) else None
        for number, name in tables.items():
            values = kept.get(number) if isinstance(kept, dict) else None
            if not isinstance(values, dict):
                continue
            for key, value in values.items():
                if isinstance(value, Tensor) and value.shape[:1] == (shards[name].num_rows,):
                    values[key] = own_part(value, shards[name])


def own_part(whole: Tensor, shards: RowShards) -> Tensor:
    """Return a copy of the rows of this process of a dense or sparse tensor (rows, …)."""
    if not whole.is_sparse:
        return whole[shards.start : shards.stop].clone()
    whole = whole.coalesce()
    rows = whole.indices()[0]
    here = (rows >= shards.start) & (rows < shards.stop)
    shape = (shards.num_own, *whole.shape[1:])
    return torch.sparse_coo_tensor(
        (rows[here] - shards.start).unsqueeze(0), whole.values()[here], shape, is_coalesced=True
    )


def _without_rows(
    number: int,
    state: dict[str, Any],
    tables: Mapping[int, str],
    shards: Mapping[str, RowShards],
    rows: dict[str, tuple[str, Tensor]],
) -> dict[str, Any]:
    """Return an optimizer's state without the rows of tables, which are added to ``rows``."""
    kept = dict(state["state"])
    for parameter, name in tables.items():
        if parameter not in kept:
            continue
        kept[parameter] = dict(kept[parameter])
        for key, value in list(_of_rows(kept[parameter], shards[name].num_own)):
            rows[f"optimizer_states.{number}.state.{parameter}.{key}.{name}"] = name, value
            del kept[parameter][key]
    return {**state, "state": kept}


def _of_rows(values: Mapping[str, Any], num_own: int) -> Iterator[tuple[str, Tensor]]:
    for key, value in values.items():
        if isinstance(value, Tensor) and value.ndim and len(value) == num_own:
            yield key, value


def _gradients(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the gradients in a checkpoint that wait for the rest of their batches, if it has any."""
    ours = checkpoint.get("lightning_croloss")
    position = ours.get("position") if isinstance(ours, dict) else None
    gradients = position.get("gradients") if isinstance(position, dict) else None
    return gradients if isinstance(gradients, dict) else {}
