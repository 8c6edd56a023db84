"""Code that ``torch.compile`` must leave as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., object])


def uncompiled(function: Function) -> Function:
    """Return the function as one that runs outside of compiled graphs, with all that it calls."""
    return cast(Function, torch.compiler.disable(function))
