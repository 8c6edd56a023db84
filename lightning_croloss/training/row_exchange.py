"""RowExchange: row-sparse gradients averaged over processes by exchanging the rows in use.

DDP adds gradients up with ``all_reduce``, which NCCL has for dense ones only, and a communication hook of DDP
is never given sparse ones. So the tables of embeddings are left out of DDP, and their rows are gathered.

Each step waits for the device once: the hosts must know how many rows to receive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lightning_croloss.common.gathering import row_counts
from lightning_croloss.sharding.messages import gathered_rows

if TYPE_CHECKING:
    from typing_extensions import Self

#: Whether processes on CPUs exchange rows, too, whose backend adds up sparse gradients itself: for tests.
ON_CPU = False
#: What a process says instead of its number of rows.
_NONE, _DENSE = -1, -2


class RowExchange:
    """The tables of one training that DDP leaves alone.

    A process receives the rows that each of the others uses: for k distinct ones of D numbers in each of W
    processes (W − 1) k (4 D + 8) bytes, where an all-reduce of the whole table of N rows moves about 8 N D.

    Args:
        tables: the tables by their names in the model.
    """

    def __init__(self, tables: dict[str, nn.Parameter]) -> None:
        self.tables = tables

    @classmethod
    def of(cls, model: nn.Module, embeddings: Sequence[nn.Module], trainer: Trainer) -> Self | None:
        """Return the exchange for a training, None where none is needed or DDP would have nothing left.

        Args:
            model: what is trained.
            embeddings: those of its embeddings that may have sparse gradients.
            trainer: what will train it.
        """
        strategy = trainer.strategy
        on_cpu = strategy.root_device.type == "cpu"
        if trainer.world_size == 1 or not isinstance(strategy, DDPStrategy) or (on_cpu and not ON_CPU):
            return None
        weights = {id(each.weight) for each in embeddings if isinstance(each, nn.Embedding)}
        tables = {name: value for name, value in model.named_parameters() if id(value) in weights}
        others = [value for value in model.parameters() if value.requires_grad and id(value) not in weights]
        return cls(tables) if tables and others else None

    def leave_out_of_ddp(self, model: nn.Module) -> None:
        """Let the DDP that will wrap the model ignore the tables."""
        _ignore(model, [*_ignored(model), *self.tables])

    @torch.no_grad()
    def begin(self, model: nn.Module) -> None:
        """Give all processes the tables of the first, as DDP has done with what it does not ignore."""
        self.hand_back(model)  # it has read the list
        for weight in self.tables.values():
            distributed.broadcast(weight.detach(), 0)

    def hand_back(self, model: nn.Module) -> None:
        """Let the next DDP have the tables."""
        _ignore(model, [name for name in _ignored(model) if name not in self.tables])

    @torch.no_grad()
    def average(self, trainer: Trainer) -> None:
        """Average the gradients over the processes; all must call it, whatever rows they have.

        While gradients accumulate nothing is exchanged, as by DDP.

        Args:
            trainer: the trainer, which has just called backward.
        """
        wrapped = trainer.strategy.model
        if isinstance(wrapped, DistributedDataParallel) and not wrapped.require_backward_grad_sync:
            return
        average_rows(list(self.tables.values()))


@torch.no_grad()
def average_rows(weights: Sequence[nn.Parameter]) -> None:
    """Average the gradients of weights over the processes, sparse ones by their rows.

    Where a process has a dense gradient, that of all becomes dense. Where none has one, there is none.

    Args:
        weights: the same in all processes, and at least one.
    """
    own = [_said(weight) for weight in weights]
    device = weights[0].device
    parts = [
        torch.empty(len(own), dtype=torch.long, device=device) for _ in range(distributed.get_world_size())
    ]
    distributed.all_gather(parts, torch.tensor(own, device=device))
    for weight, counts in zip(weights, torch.stack(parts, dim=1).tolist(), strict=True):
        if all(count == _NONE for count in counts):
            continue
        if _DENSE in counts:
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad.to_dense()
            distributed.all_reduce(gradient)
            weight.grad = gradient.div_(len(counts))
        else:
            gradient = _nothing_of(weight) if weight.grad is None else weight.grad
            weight.grad = _mean(gradient, [max(0, count) for count in counts])


@torch.no_grad()
def mean_gradient(gradient: Tensor) -> Tensor:
    """Return the mean over the processes of a gradient that all of them have, sparse or dense alike."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        return _mean(gradient, row_counts(gradient._nnz(), gradient.device))
    mean = gradient.clone()
    distributed.all_reduce(mean)
    return mean.div_(distributed.get_world_size())


def _said(weight: nn.Parameter) -> int:
    """Return the number of rows of a weight's gradient, after adding up those of the same row."""
    if weight.grad is None:
        return _NONE
    if not weight.grad.is_sparse:
        return _DENSE
    weight.grad = weight.grad.coalesce()
    return weight.grad._nnz()


def _mean(gradient: Tensor, counts: list[int]) -> Tensor:
    """Return the mean (N, D) of the processes' coalesced sparse gradients, on a CPU each row of it once."""
    # divided first, as DDP does, so that a sum in half precision does not overflow
    parts = (gradient.indices()[0], gradient.values() / len(counts))
    rows, values = (gathered_rows(part, counts) for part in parts)
    mean = torch.sparse_coo_tensor(rows.unsqueeze(0), values, gradient.shape, check_invariants=False)
    # a device would have to be waited for again; what takes the gradient adds up what is not
    return mean.coalesce() if mean.device.type == "cpu" else mean


def _nothing_of(weight: nn.Parameter) -> Tensor:
    rows = torch.zeros(1, 0, dtype=torch.long, device=weight.device)
    values = weight.new_zeros(0, *weight.shape[1:])
    return torch.sparse_coo_tensor(rows, values, weight.shape, check_invariants=False).coalesce()


def _ignore(model: nn.Module, names: list[str]) -> None:
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)


def _ignored(model: nn.Module) -> list[str]:
    return list(getattr(model, "_ddp_params_and_buffers_to_ignore", ()))
