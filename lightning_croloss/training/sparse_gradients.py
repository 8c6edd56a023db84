"""Row-sparse gradients of id embeddings: when they pay, and how they are clipped."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Sequence

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from lightning_croloss.common.called_later import read_called_later
from lightning_croloss.negatives import Negatives
from lightning_croloss.sharding.embedding import IdEmbedding
from lightning_croloss.training.lazy_adam import LazyAdam
from lightning_croloss.training.row_sums import RowSums

#: Rows from which an embedding's gradient is sparse unless the user decides: below it a dense step costs less
#: or nearly as little (measured at D = 64; `python -m benchmarks.speed --sections growth`).
AUTOMATIC_ROWS = 50_000
#: Arguments of Adam and AdamW that LazyAdam has too.
KNOWN = ("lr", "betas", "eps", "weight_decay")


def lazy_optimizer(optimizer: OptimizerCallable | None) -> OptimizerCallable | None:
    """Return LazyAdam with the settings of an Adam or AdamW; None if it cannot stand for the optimizer.

    Args:
        optimizer: what the model was given; None is Adam.
    """
    if optimizer is None:
        return functools.partial(LazyAdam, lr=1e-3)
    given = read_called_later(optimizer)
    if given is None:
        return None
    if given.cls is LazyAdam:
        return optimizer
    if given.positional or given.cls not in (torch.optim.Adam, torch.optim.AdamW):
        return None
    defaults = {name: p.default for name, p in inspect.signature(given.cls).parameters.items()}
    if any(name not in KNOWN and value != defaults.get(name) for name, value in given.keywords.items()):
        return None
    settings = {name: given.keywords.get(name, defaults[name]) for name in KNOWN}
    if given.cls is torch.optim.Adam and settings["weight_decay"]:
        return None  # not decoupled: it would put every row into the gradient
    return functools.partial(LazyAdam, **settings)


def check_sparse(sparse: bool | None, optimizer: OptimizerCallable | None, negatives: Negatives) -> None:
    """Refuse sparse gradients where they cannot be.

    Raises:
        ValueError: the optimizer has no lazy counterpart, or every item is a negative.
    """
    if not sparse:
        return
    if lazy_optimizer(optimizer) is None:
        raise ValueError(
            "sparse_gradients=True needs LazyAdam, or an Adam or AdamW with no other settings than "
            f"{', '.join(KNOWN)} (Adam without weight_decay), got {read_called_later(optimizer) or optimizer}"
        )
    if negatives.uses_whole_catalogue:
        raise ValueError(
            f"sparse_gradients=True and {type(negatives).__name__}: every row has a gradient; leave "
            "sparse_gradients out, or sample the negatives"
        )


def pays(
    embeddings: Iterable[IdEmbedding],
    sparse: bool | None,
    optimizer: OptimizerCallable | None,
    negatives: Negatives,
    devices_add_up: bool,
    compiled: bool,
) -> bool:
    """Tell whether the gradients of the id embeddings shall be sparse.

    Args:
        embeddings: the embeddings of ids.
        sparse: what the user says; None leaves the choice.
        optimizer: the model's optimizer.
        negatives: its sampler.
        devices_add_up: whether several accelerators add up the gradients, which they cannot with sparse ones.
        compiled: whether the model is compiled: sparse gradients would break the graph.
    """
    if sparse is not None:
        return sparse and not devices_add_up
    rows = max((embedding.num_embeddings for embedding in embeddings), default=0)
    return (
        rows >= AUTOMATIC_ROWS
        and not negatives.uses_whole_catalogue
        and lazy_optimizer(optimizer) is not None
        and not devices_add_up
        and not compiled
    )


def holds(optimizer: Optimizer, parameter: Tensor) -> bool:
    """Tell whether an optimizer updates a parameter."""
    return any(parameter is each for group in optimizer.param_groups for each in group["params"])


def takes_dense_only(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer of torch is known to refuse sparse gradients."""
    takes_sparse = (torch.optim.SparseAdam, torch.optim.SGD, torch.optim.Adagrad)
    return type(optimizer).__module__.startswith("torch.optim") and not isinstance(optimizer, takes_sparse)


def clip_gradients(
    parameters: Iterable[nn.Parameter],
    clip_val: float,
    algorithm: str,
    in_shards: Sequence[nn.Parameter] = (),
) -> None:
    """Clip dense and sparse gradients together, sparse ones by their rows added up.

    Args:
        parameters: the parameters.
        clip_val: the largest norm of all gradients together, or the largest value.
        algorithm: "norm" or "value".
        in_shards: those of them of which each process has other rows: the norm is then that of all rows, and
            every process must call this.
    """
    values: list[Tensor] = []
    elsewhere = {id(parameter) for parameter in in_shards}
    squares = torch.zeros(2, dtype=torch.float64, device=in_shards[0].device if in_shards else None)
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = RowSums.of(parameter.grad).each_once(parameter.grad)
            values.append(parameter.grad._values())
        else:
            values.append(parameter.grad)
        if in_shards:
            square = torch.linalg.vector_norm(values[-1], dtype=torch.float64).square()
            squares[int(id(parameter) in elsewhere)] += square
    if algorithm == "value":
        for value in values:
            value.clamp_(-clip_val, clip_val)
        return
    if in_shards:
        distributed.all_reduce(squares[1:])
        norm = squares.sum().sqrt()
    elif values:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in values]))
    if values:
        factor = (clip_val / (norm + 1e-6)).clamp(max=1.0)
        for value in values:
            value.mul_(factor.to(value.dtype))
