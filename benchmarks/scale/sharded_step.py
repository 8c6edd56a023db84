"""Training steps over a table of items in shards, in W gloo processes: memory, time and traffic of each.

A user is a layer over the mean of 20 items' rows, drawn at random like the target: hardly an id comes twice,
which is the most that a step of this size can cost. For counting bytes the ids can be spread evenly instead,
so that chance plays no part. Two kinds of step:

- ``sampled``: rows of the histories, of the targets and of 2,560 uniform negatives are looked up together,
  with sparse gradients;
- ``whole``: the loss compares the rows of all processes with the whole catalogue, and gradients are dense.

The moments are touched once before they are measured: zeros that nobody has written take no memory yet.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import Tensor, distributed, nn

from benchmarks.common.traffic import counted_traffic
from lightning_croloss import CROLoss
from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.training import LazyAdam
from lightning_croloss.training.table_gradients import whole_rows

LENGTH, NEGATIVES = 20, 2560
KINDS = ("sampled", "whole")
#: Steps before the ones that are timed: they allocate.
FIRST = 3


def run(
    kind: str,
    processes: int,
    items: int,
    dim: int,
    batch: int,
    steps: int,
    first: int = FIRST,
    even: bool = False,
) -> list[dict[str, Any]]:
    """Return what each process measured.

    Args:
        kind: one of :data:`KINDS`.
        processes: their number W.
        items: size of the catalogue.
        dim: width D.
        batch: rows of each process.
        steps: how many are timed.
        first: how many come before these.
        even: whether the ids of a step are different ones, spread evenly over the catalogue.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = (processes, folder, kind, items, dim, batch, steps, first, even)
        torch.multiprocessing.start_processes(_process, arguments, nprocs=processes, start_method="spawn")
        return [torch.load(Path(folder, f"{rank}.pt"), weights_only=True) for rank in range(processes)]


def _process(rank: int, world_size: int, folder: str, *settings: Any) -> None:
    torch.set_num_threads(1)
    store = Path(folder, "rendezvous").as_uri()
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    torch.save(measure(rank, *settings), Path(folder, f"{rank}.pt"))
    distributed.destroy_process_group()


def measure(
    rank: int, kind: str, items: int, dim: int, batch: int, steps: int, first: int, even: bool
) -> dict[str, Any]:
    """Train for some steps in one process of several."""
    torch.manual_seed(0)
    table = ShardedEmbedding(items + 1, dim, padding_idx=0, sparse=kind == "sampled")
    table.draw(lambda rows: rows.normal_(std=1 / math.sqrt(dim)))
    tower = nn.Linear(dim, dim)
    trained = [table.weight, *tower.parameters()]
    # as a model's training builds them
    optimizer = LazyAdam(trained) if kind == "sampled" else torch.optim.Adam(trained, fused=True)
    loss = CROLoss(n=100, num_items=items)
    generator = torch.Generator().manual_seed(rank)

    sizes = [batch * LENGTH, batch, NEGATIVES if kind == "sampled" else 0]

    def draw() -> list[Tensor]:
        number = sum(sizes)
        if even:
            order = torch.randperm(number, generator=generator)
            return list((order * items // number + 1).split(sizes))
        return list(torch.randint(1, items + 1, (number,), generator=generator).split(sizes))

    def step() -> float:
        value = _loss(kind, table, tower, loss, *draw())
        optimizer.zero_grad()
        value.backward()
        _average(tower)
        optimizer.step()
        return float(value.detach())

    for _ in range(first):
        step()
    for state in optimizer.state.values():
        for value in state.values():
            value.add_(0)
    distributed.barrier()
    wall, computed = time.perf_counter(), time.process_time()
    with counted_traffic() as traffic:
        losses = [step() for _ in range(steps)]
    assert all(map(math.isfinite, losses))
    return {
        "wall_ms": 1000 * (time.perf_counter() - wall) / steps,
        "process_ms": 1000 * (time.process_time() - computed) / steps,
        "peak_mib": _status("VmHWM"),
        "traffic": {name: count / steps for name, count in Counter(traffic).items()},
        "state_mib": _bytes(table, optimizer) / 2**20,
    }


def _loss(
    kind: str,
    table: ShardedEmbedding,
    tower: nn.Module,
    loss: CROLoss,
    history: Tensor,
    targets: Tensor,
    negatives: Tensor,
) -> Tensor:
    with whole_rows(table if kind == "whole" else None) as weight:
        asked = [history, targets, negatives]
        rows = table(torch.cat(asked)).split([len(ids) for ids in asked])
        users = tower(rows[0].view(len(targets), LENGTH, -1).mean(1))
        if weight is None:
            return loss.from_embeddings(users, rows[1], rows[2], target_ids=targets, candidate_ids=negatives)
        return loss.from_sharded_embeddings(
            users, rows[1], weight, table.shards, target_ids=targets, of_table=True
        )


def _average(tower: nn.Module) -> None:
    """Average the gradients of what all processes have alike, as DDP does."""
    gradients = [value.grad for value in tower.parameters() if value.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _bytes(table: ShardedEmbedding, optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of the table's rows here, of their optimizer's state and of a dense gradient."""
    kept = [table.weight, *optimizer.state[table.weight].values()]
    if table.weight.grad is not None and not table.weight.grad.is_sparse:
        kept.append(table.weight.grad)
    return sum(value.numel() * value.element_size() for value in kept)


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
