"""Searching and ranking hold some tiles, however many items there are."""

from __future__ import annotations

import pytest
import torch

from lightning_croloss.retrieval import target_ranks, top_items
from tests.living_tensors import LivingTensors

USERS, TILE = 64, 2**13


def living(search: str, num_items: int) -> tuple[int, int]:
    """Return how many tensors, and bytes, live at a time beside the arguments."""
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(USERS, 1, 8, generator=generator)
    items = torch.randn(num_items, 8, generator=generator)
    ids = torch.randint(1, num_items + 1, (USERS, 6), generator=generator)
    with LivingTensors() as watched:
        if search == "ranks":
            target_ranks(users, items, ids[:, :2], excluded=ids[:, 2:], tile_elements=TILE)
        else:
            top_items(users, items, 5, excluded=ids, tile_elements=TILE)
    return watched.most, watched.most_bytes


@pytest.mark.parametrize("search", ["ranks", "top"])
def test_memory_does_not_grow_with_the_catalogue(search: str) -> None:
    few, bytes_of_few = living(search, 2_000)
    many, bytes_of_many = living(search, 40_000)  # 16 and 313 tiles
    # what stays from tile to tile lies where the tile before was, and the next finds no room there
    assert many <= few + 1
    assert bytes_of_many <= bytes_of_few + 1024
    assert bytes_of_many < 8 * 4 * TILE
