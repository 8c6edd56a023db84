"""What processes say to each other: rows to their owners, and headers by which all fail if one fails.

A process that raises an error alone leaves the others waiting for it. So what can be wrong with a process's
own input is not raised at once, but travels with the numbers of rows that are exchanged anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from lightning_croloss.common.gathering import gathered


def device_of_processes() -> torch.device:
    """Return where collectives of all processes take their tensors."""
    nccl = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def everyone_says(
    numbers: Sequence[float], problem: Exception | None, device: torch.device
) -> list[list[float]]:
    """Return the numbers of each process, by rank; each gives as many.

    Args:
        numbers: of this process, whole ones or not; what is given with a problem is not looked at.
        problem: what is wrong here.
        device: where the collective takes its tensors.

    Raises:
        Exception: ``problem``, on the process that has it.
        ValueError: another process has one.
    """
    own = torch.tensor([float(problem is not None), *numbers], dtype=torch.float64, device=device)
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own)
    said: list[list[float]] = torch.stack(parts).tolist()
    if problem is not None:
        raise problem
    for rank, (wrong, *_) in enumerate(said):
        if wrong:
            raise ValueError(f"process {rank} refused its arguments, and said why")
    return [row[1:] for row in said]


def swapped(values: Tensor, sent: list[int] | None = None, received: list[int] | None = None) -> Tensor:
    """Return the rows that the other processes sent here, in the order of their ranks; no gradient.

    Args:
        values: (n, …) rows in the order of the processes to which they go.
        sent: how many go to each; None = one each.
        received: how many come from each; None = one each.
    """
    values = values.detach().contiguous()
    result = values.new_empty(len(values) if received is None else sum(received), *values.shape[1:])
    distributed.all_to_all_single(result, values, received, sent)
    return result


def gathered_rows(values: Tensor, counts: list[int]) -> Tensor:
    """Return (Σ counts, …): the rows of all processes, in the order of their ranks; no gradient.

    Args:
        values: (b, …) of this process.
        counts: the number b of each.
    """
    rows = max(counts)
    parts = gathered(values.detach(), rows).view(len(counts), rows, *values.shape[1:])
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def returned_rows(values: Tensor, counts: list[int]) -> Tensor:
    """Return (b, …): of what all processes have computed for all rows, the sum for those of this process.

    Args:
        values: (Σ counts, …) of the rows of all processes.
        counts: as in :func:`gathered_rows`, whose backward pass this is.
    """
    own = counts[distributed.get_rank()]
    parts = swapped(values, counts, [own] * len(counts))
    return parts.view(len(counts), own, *values.shape[1:]).sum(0)
