"""Weights of a file: those of the model that they are for, and numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lightning_croloss.common.finite import is_finite, not_finite
from lightning_croloss.errors import PretrainedError
from lightning_croloss.losses.temperature import PARAMETER
from lightning_croloss.models.graphs import graphs_of

#: What weights may be kept in, whatever the model's own type is.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: Weights that are not the architecture's: the model may have got another loss since.
OF_LOSS = frozenset({f"loss.{PARAMETER}"})


def check_weights(
    model: nn.Module, tensors: Mapping[str, object], where: str, size: str = "", strict: bool = True
) -> None:
    """Refuse weights that are not those of a model.

    Args:
        model: the model.
        tensors: what the file holds.
        where: the file, for errors.
        size: how large the model is, for errors.
        strict: whether all must be there, and no others.

    Raises:
        PretrainedError: they are of another architecture or catalogue, of a type that holds no weights, or
            not all finite; the message names the first.
    """
    expected: dict[str, Tensor] = model.state_dict()
    trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    kind = type(model).__name__
    graphs = graphs_of(model)
    missing = sorted(map(str, expected.keys() - tensors.keys() - OF_LOSS))
    unknown = sorted(map(str, tensors.keys() - expected.keys() - OF_LOSS))
    if strict and (missing or unknown):
        named = [f"lacks {name!r}" for name in missing[:1]] + [f"has {name!r}" for name in unknown[:1]]
        raise PretrainedError(
            f"{where} is of another architecture than this {kind}: it {' and '.join(named)}"
        )
    for name in sorted(expected.keys() & tensors.keys()):
        tensor, own = tensors[name], expected[name]
        if not isinstance(own, Tensor):  # a module's own extra state
            continue
        if not isinstance(tensor, Tensor):
            raise PretrainedError(f"{where} is damaged: {name!r} is not a plain tensor")
        if name in graphs:  # as many edges as there were events
            try:
                graphs[name].check_edges(tensor)
            except ValueError as error:
                raise PretrainedError(f"{where} is damaged: {error}") from None
            continue
        if tensor.shape != own.shape:
            raise PretrainedError(
                f"{where} is of another catalogue or size than this {kind}{size}: "
                f"{name!r} has the shape {tuple(tensor.shape)} instead of {tuple(own.shape)}"
            )
        if tensor.dtype != own.dtype and not (tensor.dtype in FLOATS and own.dtype in FLOATS):
            raise PretrainedError(
                f"{where} is damaged: {name!r} is of the type {_short(tensor)} instead of {_short(own)}"
            )
        # a buffer may be meant to hold infinite values, as a mask does
        numbers = name in trained or not (own.is_meta or not is_finite(own))
        if tensor.dtype in FLOATS and numbers and not is_finite(tensor):
            raise PretrainedError(not_finite(where, name))


def _short(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
