"""Initial values of a table's rows, the same for every number of processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_croloss.sharding.row_shards import RowShards

#: Most numbers of a table that every process draws all, to keep its own: some seconds.
MOST_DRAWN = 2**27
#: Numbers of a block, about: all that is in memory beside the rows themselves.
BLOCK = 2**20
#: Random numbers come in groups of as many, so that blocks of whole groups are drawn as the whole would be.
_GROUP = 16


@torch.no_grad()
def draw_rows(
    weight: Tensor,
    shards: RowShards,
    fill: Callable[[Tensor], object],
    first: int = 0,
    most_drawn: int = MOST_DRAWN,
) -> None:
    """Fill the rows of this process from the global generator of the CPU, whatever the number of processes.

    In a table of up to ``most_drawn`` numbers these are the rows of ``fill(whole[first:])`` bit for bit:
    every process draws all, block by block, and keeps its own. Beyond, where that would take minutes, each
    block has a generator of its own, seeded from the global one, and a process draws only blocks with rows of
    its own. In both cases the global generator moves on by the same on every process.

    Args:
        weight: (own rows, …), on any device. On "meta" nothing is kept, only the generator moves on.
        shards: of the table.
        fill: fills a tensor of some rows on the CPU in place, each number by itself: ``Tensor.normal_``.
        first: the first row to fill; those before stay as they are.
        most_drawn: where the other way begins.
    """
    shape = weight.shape[1:]
    step = max(1, BLOCK // max(1, shape.numel()) // _GROUP) * _GROUP
    number = max(1, (shards.num_rows - first) // step)
    one_by_one = (shards.num_rows - first) * shape.numel() <= most_drawn
    seed = 0 if one_by_one else int(torch.randint(2**62, ()))
    if weight.is_meta and not one_by_one:
        return
    after = torch.get_rng_state()
    for block in range(number):
        start = first + block * step
        stop = shards.num_rows if block == number - 1 else start + step  # the last is never a small one
        low, high = max(start, shards.start), min(stop, shards.stop)
        if not one_by_one:
            if low >= high:
                continue
            torch.default_generator.manual_seed(seed + block)
        drawn = torch.empty(stop - start, *shape, dtype=weight.dtype)
        fill(drawn)
        if low < high:
            weight[low - shards.start : high - shards.start] = drawn[low - start : high - start].to(weight)
    if not one_by_one:
        torch.set_rng_state(after)
