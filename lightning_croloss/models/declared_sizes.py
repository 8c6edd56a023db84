"""Building a model that a file describes without allocating more than the file's weights need."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_croloss.errors import PretrainedError

M = TypeVar("M", bound=nn.Module)

#: A model may allocate this many times as many elements as its file holds, and so many besides: what a
#: model computes and does not keep (masks, positions) is small beside its embeddings.
TIMES, BESIDES = 4, 2**22
#: Larger tensors are described and not made where a model is only planned.
_SMALL = 2**14
_CALLS, _CALLS_EACH = 10_000, 100
_ANY_SIZE = "its config and its weights do not belong together"


def elements(tensors: Mapping[str, Tensor]) -> int:
    """Return how many elements tensors really hold: one that repeats its values counts these alone."""
    total = {}
    for tensor in tensors.values():
        storage = tensor.untyped_storage()
        size = tensor.numel() if tensor.is_meta else storage.nbytes() // max(1, tensor.element_size())
        total[id(tensor) if tensor.is_meta else storage.data_ptr()] = size
    return sum(total.values())


def planned(build: Callable[[], M], shapes: Mapping[str, Sequence[int]], held: int, where: str) -> M | None:
    """Build a model whose large tensors have shapes and no memory, and compare it with the weights' headers.

    Takes no random numbers of the caller's.

    Args:
        build: builds the model.
        shapes: shapes of the weights in the file, by name.
        held: number of elements that the file holds.
        where: the file, for errors.

    Returns:
        The model, good for nothing but looking at it; None if its class does not let itself be built so.

    Raises:
        PretrainedError: the file describes a model of other sizes than its weights.
    """
    limit = _CALLS + _CALLS_EACH * len(shapes)
    allocation = _Allocation(math.inf, limit, plans=True)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), allocation:
            warnings.simplefilter("ignore")
            model = build()
    except _TooLarge as error:
        raise PretrainedError(f"{where} describes a model with {error}: {_ANY_SIZE}") from None
    except Exception:
        # a constructor that computes with its tensors, or that fails anyway: building it tells
        return None
    if allocation.total > TIMES * held + BESIDES:
        for name, tensor in model.state_dict().items():
            if isinstance(tensor, Tensor) and tuple(tensor.shape) != tuple(shapes.get(name, ())):
                raise PretrainedError(
                    f"{where} describes a {type(model).__name__} whose {name!r} has the shape "
                    f"{tuple(tensor.shape)}, but holds {_held(shapes, name)}: {_ANY_SIZE}"
                )
        raise PretrainedError(
            f"{where} describes a {type(model).__name__} of {allocation.total:,} numbers, but holds "
            f"{held:,}: {_ANY_SIZE}"
        )
    return model


def built_to_fit(build: Callable[[], M], shapes: Mapping[str, Sequence[int]], held: int, where: str) -> M:
    """Build a model for the weights of a file, which may be a stranger's.

    Args:
        build: builds the model; called twice.
        shapes: shapes of the weights in the file, by name.
        held: number of elements that the file holds.
        where: the file, for errors.

    Raises:
        PretrainedError: the file describes a model that is much larger than its weights.
    """
    planned(build, shapes, held, where)
    try:
        with _Allocation(TIMES * held + BESIDES, _CALLS + _CALLS_EACH * len(shapes), plans=False):
            return build()
    except _TooLarge as error:
        raise PretrainedError(f"{where} describes a model with {error}: {_ANY_SIZE}") from None


def _held(shapes: Mapping[str, Sequence[int]], name: str) -> str:
    return f"one of {tuple(shapes[name])}" if name in shapes else "no such weights"


class _TooLarge(Exception):
    """More is allocated than the weights can need."""


class _Allocation(TorchDispatchMode):
    """Counts what is allocated, and stops where it is too much; on request makes no large tensor."""

    def __init__(self, elements: float, calls: int, plans: bool) -> None:
        super().__init__()
        self.total = 0
        self._elements, self._calls, self._plans = elements, calls, plans

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        self._calls -= 1
        if self._calls < 0:
            raise _TooLarge("far more parts than its weights have")
        if not any(argument.name == "device" for argument in func._schema.arguments):
            return func(*args, **given)
        try:
            described = func(*args, **{**given, "device": "meta"})
        except (NotImplementedError, RuntimeError):  # of no size that is known beforehand
            return func(*args, **given)
        if isinstance(described, Tensor):
            self.total += described.numel()
            if self.total > self._elements:
                raise _TooLarge(f"a tensor of the shape {tuple(described.shape)}")
            if self._plans and described.numel() > _SMALL:
                return described
        return func(*args, **given)
