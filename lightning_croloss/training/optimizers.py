"""The optimizer and the learning rate scheduler of a configuration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_croloss.common.called_later import read_called_later

#: Learning rate of the optimizer that is built where none is given.
DEFAULT_RATE = 1e-3


def build_optimizers(
    parameters: Iterable[nn.Parameter],
    optimizer: OptimizerCallable | None,
    lr_scheduler: LRSchedulerCallable | None,
    interval: str,
    learning_rate: float | None = None,
    undecayed: Iterable[nn.Parameter] = (),
) -> Any:
    """Return what ``configure_optimizers`` must: the optimizer, and the scheduler if there is one.

    Args:
        parameters: what to train.
        optimizer: any torch optimizer; None is Adam with learning rate 0.001.
        lr_scheduler: any torch learning rate scheduler; None keeps the rate.
        interval: "epoch" or "step": how often the scheduler steps.
        learning_rate: the rate in place of the optimizer's own, in all groups; None keeps that.
        undecayed: those of the parameters that weight decay leaves alone.
    """
    built = torch.optim.Adam(parameters, lr=DEFAULT_RATE) if optimizer is None else optimizer(parameters)
    _spare(built, undecayed)
    if learning_rate is not None:  # before the scheduler takes its first rate from it
        for group in (built.defaults, *built.param_groups):
            group["lr"] = learning_rate
    if lr_scheduler is None:
        return built
    scheduler = lr_scheduler(built)
    entry: dict[str, Any] = {"scheduler": scheduler, "interval": interval}
    if isinstance(scheduler, ReduceLROnPlateau):
        entry["monitor"] = getattr(scheduler, "monitor", None)
    return {"optimizer": built, "lr_scheduler": entry}


def _spare(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Put parameters that would be decayed into groups of their own, without weight decay."""
    spared = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        own = [parameter for parameter in group["params"] if id(parameter) in spared]
        if own and group.get("weight_decay"):
            group["params"] = [entry for entry in group["params"] if id(entry) not in spared]
            optimizer.add_param_group({**group, "params": own, "weight_decay": 0.0})


def rate_of(optimizer: OptimizerCallable) -> float | None:
    """Return the learning rate that an optimizer is given or has by default; None if only it knows."""
    given = read_called_later(optimizer)
    if given is None or given.cls is None:
        return None
    own = inspect.signature(given.cls).parameters.get("lr")
    rate = given.keywords.get("lr", None if own is None else own.default)
    return float(rate) if isinstance(rate, (int, float)) else None


def without_numpy(value: Any) -> Any:
    """Make the numbers plain that an optimizer would put into its state, and so into checkpoints."""
    if isinstance(value, functools.partial) and (given := read_called_later(value)) is not None:
        keywords = {name: without_numpy(entry) for name, entry in given.keywords.items()}
        return functools.partial(given.target, *map(without_numpy, given.positional), **keywords)
    if isinstance(value, (list, tuple)):
        return type(value)(without_numpy(entry) for entry in value)
    return value.item() if isinstance(value, np.generic) else value
