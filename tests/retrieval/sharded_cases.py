"""What processes rank and recommend over shards, and the same in one process."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.retrieval import target_ranks, top_items


@dataclass
class Case:
    """The users of some processes, each with targets and excluded items of widths of their own."""

    items: Tensor
    users: list[Tensor]
    targets: list[Tensor]
    excluded: list[Tensor]
    n: int
    tile_elements: int

    def ranks(self) -> list[Tensor]:
        """The ranks in one process, of the users of each."""
        return [
            target_ranks(users, self.items, targets, excluded=excluded, tile_elements=self.tile_elements)
            for users, targets, excluded in zip(self.users, self.targets, self.excluded, strict=True)
        ]

    def top(self) -> list[tuple[Tensor, Tensor]]:
        """The best items in one process, for the users of each."""
        return [
            top_items(users, self.items, self.n, excluded=excluded, tile_elements=self.tile_elements)
            for users, excluded in zip(self.users, self.excluded, strict=True)
        ]


def integer_case(seed: int, processes: int) -> Case:
    """Products of small integers, exact in every dtype, with many ties, NaN and infinities here and there."""
    generator = torch.Generator().manual_seed(1000 * processes + seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def choice(*values):
        return values[number(0, len(values) - 1)]

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=generator)

    dtype = choice(torch.float32, torch.float64, torch.bfloat16)
    num_items, interests, dim = max(processes - 1, number(1, 23)), choice(1, 1, 4), 3
    items = integers(-2, 2, num_items, dim).to(dtype)
    if seed % 4 == 3:
        items[number(0, num_items - 1)] = choice(torch.nan, torch.inf, -torch.inf)
    counts = [choice(0, 1, 5, 12) for _ in range(processes)]
    targets = [integers(0, num_items, count, number(0, 4)) for count in counts]
    excluded = [integers(0, num_items, count, number(0, 6)) for count in counts]
    users = [integers(-2, 2, count, interests, dim).to(dtype) for count in counts]
    budget = choice(10, 60, 300, 2**24)
    return Case(items, users, targets, excluded, number(1, num_items), budget)


def wide_case(dtype: torch.dtype, processes: int, equal_items: int = 0) -> Case:
    """Vectors as models have them, of unit length, more items than a tile has columns."""
    generator = torch.Generator().manual_seed(processes)

    def unit(*shape: int) -> Tensor:
        vectors = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(vectors, dim=-1).to(dtype)

    num_items, counts = 4003, [70, 0, 150, 33][:processes]
    items = unit(num_items, 37)
    if equal_items:  # in different shards
        items[torch.arange(0, num_items, num_items // equal_items)] = items[5].clone()
    targets = [torch.randint(1, num_items + 1, (count, 3), generator=generator) for count in counts]
    excluded = [torch.randint(1, num_items + 1, (count, 20), generator=generator) for count in counts]
    users = [unit(count, 2, 37) for count in counts]
    return Case(items, users, targets, excluded, 50, 2**24)
