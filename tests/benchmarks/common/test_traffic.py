"""Bytes that processes send to each other are those that stand in the tensors."""

from __future__ import annotations

import torch
from torch import distributed

from benchmarks.common.traffic import counted_traffic
from lightning_croloss.sharding.messages import gathered_rows, swapped
from tests.distributed import run_distributed


def counts(rank: int, world_size: int) -> dict[str, int]:
    with counted_traffic() as traffic:
        swapped(torch.zeros(world_size, 3, dtype=torch.int64))
        swapped(torch.zeros(3, 4), [1, 2], [1 + rank] * 2)
        gathered_rows(torch.zeros(5, 2), [5, 5])
        distributed.all_reduce(torch.zeros(10, dtype=torch.float64))
    swapped(torch.zeros(2, 1))  # no more
    return dict(traffic)


def test_what_goes_to_others_is_counted() -> None:
    for rank, found in enumerate(run_distributed(counts, 2)):
        # one row of three long numbers, and of the second message the rows that are not its own
        to_others = [2, 1][rank] * 4 * 4
        assert found == {
            "all_to_all_single": 3 * 8 + to_others,
            "all_gather": 5 * 2 * 4,
            "all_reduce": 10 * 8,  # 2 (W − 1) / W of it
            "calls": 4,
        }
