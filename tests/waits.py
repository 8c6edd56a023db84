"""Waits: what a computation asks a device for, counted where it is asked."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

#: Operators whose result, or whose size, is a value that the host must know.
_ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "bincount", "equal", "is_nonzero")
#: Functions that make a tensor of what Python holds.
_MADE = ("tensor", "as_tensor")


class Waits(TorchDispatchMode):
    """Counts what waits, by the operator and the line of this package that asks.

    Copies between a device and the host wait, unless they are told not to. The host's own tensors may be
    read, so that on a CPU everything counts and elsewhere only what is elsewhere.

    Args:
        on_cpu: whether the tensors of the CPU are those of the device.
    """

    def __init__(self, on_cpu: bool = False) -> None:
        super().__init__()
        self.found: Counter[tuple[str, str]] = Counter()
        self._on_cpu = on_cpu
        self._functions = _Functions(self)

    def __enter__(self) -> Waits:
        self._functions.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._functions.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note an operator that waits."""
        kwargs = kwargs or {}
        name = str(func).split(".")[1]
        tensors = [value for value in args if isinstance(value, Tensor)]
        if name == "copy_" and not (kwargs.get("non_blocking") or args[2:3] == (True,)):
            self._note_copy(name, args[0].device, args[1])
        elif name == "_to_copy" and not kwargs.get("non_blocking"):
            self._note_copy(name, torch.device(kwargs.get("device") or args[0].device), args[0])
        elif any(self.is_there(value) for value in tensors) and self._waits(name, args, kwargs):
            self.note(name)
        return func(*args, **kwargs)

    def is_there(self, value: Tensor) -> bool:
        """Tell whether a tensor is on the device."""
        return self._on_cpu or value.device.type != "cpu"

    def note(self, what: str) -> None:
        """Note that something waits, if it is this package that asks."""
        ours = [each for each in traceback.extract_stack() if "/lightning_croloss/" in each.filename]
        if ours:
            place = ours[-1].filename.split("/lightning_croloss/")[-1]
            self.found[what, f"{place}: {ours[-1].line}"] += 1

    def _note_copy(self, name: str, to: torch.device, value: Tensor) -> None:
        if to.type != value.device.type and not value.is_pinned():
            self.note(f"{name} from {value.device.type} to {to.type}")

    @staticmethod
    def _waits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if name == "repeat_interleave":
            return kwargs.get("output_size") is None
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        return name.lstrip("_").startswith(tuple(each.lstrip("_") for each in _ASKING)) and (
            name != "nonzero_static"
        )


class _Functions(TorchFunctionMode):
    """Sees ``torch.tensor(…, device=…)``, whose copy no operator shows."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        made = getattr(func, "__name__", "") in _MADE and not any(isinstance(each, Tensor) for each in args)
        if made and result.device.type != "cpu":
            self._waits.note(f"{func.__name__} on {result.device.type}")
        return result
