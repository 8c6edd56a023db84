"""Rounds: the users of all processes, gathered block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from lightning_croloss.retrieval.arguments import DTYPES
from lightning_croloss.sharding.messages import gathered_rows


@dataclass(frozen=True)
class Round:
    """Some users of every process, those of the first process first.

    Attributes:
        users: (G, K, D) their vectors.
        ids: what came with them, each (G, X).
        counts: the number of users of each process.
        rank: number of this process.
        rows: which of this process's users they are.
    """

    users: Tensor
    ids: list[Tensor]
    counts: list[int]
    rank: int
    rows: slice

    @property
    def own(self) -> slice:
        """Which of the users are of this process."""
        start = sum(self.counts[: self.rank])
        return slice(start, start + self.counts[self.rank])


class Rounds:
    """Gathers the users of all processes in as many rounds in each process, whatever their numbers.

    A round holds at most ``most_elements`` numbers of the users of all processes, but one user of each.

    Args:
        users: (B, K, D) the vectors of this process's users, of which ``check_vectors`` is asked before.
        ids: what comes with them, each (B, X); B and X may differ between the processes.
        like: something of the dtype of the items.
        most_elements: the most numbers of a round, at least 1.
        besides: how many numbers each user takes besides the vectors and ids.

    Attributes:
        largest: the most users of a round.

    Raises:
        ValueError: the processes have vectors of different shapes or dtypes.
    """

    def __init__(
        self, users: Tensor, ids: Sequence[Tensor], like: Tensor, most_elements: int, besides: int = 0
    ) -> None:
        self._users, self._ids = users.detach(), ids
        self._rank = distributed.get_rank()
        shape = [*users.shape[1:], DTYPES.index(users.dtype), DTYPES.index(like.dtype)]
        said = torch.tensor([len(users), *shape, *(part.shape[1] for part in ids)], device=users.device)
        table = [torch.empty_like(said) for _ in range(distributed.get_world_size())]
        distributed.all_gather(table, said)
        told = torch.stack(table).tolist()
        for rank, row in enumerate(told):
            if row[1:5] != told[0][1:5]:
                raise ValueError(
                    f"all processes must have users and items of the same form, but those of process {rank} "
                    f"have (K, D) = ({row[1]}, {row[2]}), {DTYPES[row[3]]} and {DTYPES[row[4]]}, those of "
                    f"process 0 ({told[0][1]}, {told[0][2]}), {DTYPES[told[0][3]]} and {DTYPES[told[0][4]]}"
                )
        self._numbers = [row[0] for row in told]
        self._widths = [max(widths) for widths in zip(*(row[5:] for row in told), strict=True)]
        each = users.shape[1] * users.shape[2] + sum(self._widths) + besides
        # without users there is nothing to gather, and no round
        self._step = max(1, min(max(self._numbers), most_elements // (each * len(told))))
        self.largest = sum(min(number, self._step) for number in self._numbers)

    def __iter__(self) -> Iterator[Round]:
        """Yield the rounds, as many in each process."""
        for start in range(0, max(self._numbers), self._step):
            counts = [max(0, min(number - start, self._step)) for number in self._numbers]
            rows = slice(start, start + counts[self._rank])
            if rows.start > len(self._users):
                rows = slice(0, 0)
            ids = [
                gathered_rows(_widened(part[rows], width), counts)
                for part, width in zip(self._ids, self._widths, strict=True)
            ]
            yield Round(gathered_rows(self._users[rows], counts), ids, counts, self._rank, rows)


def largest(number: int, device: torch.device) -> int:
    """Return the largest of all processes' numbers, so that each makes as many calls as the others."""
    found = torch.tensor(number, device=device)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return int(found)


def _widened(ids: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(ids, (0, width - ids.shape[1]))
