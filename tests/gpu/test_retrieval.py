"""Exact ranks and lists on the device: ties to the last bit, and the same results as on the CPU.

Vectors of small integers have exact products in every order of summation, so that the device must agree with
the CPU in everything, and have many ties. Other vectors are compared with copies of themselves.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_croloss.metrics import HitRateAtN, MRRAtN, NDCGAtN, RecallAtN
from lightning_croloss.retrieval import diverse_items, target_ranks, top_items
from tests.gpu.device import DEVICE, is_on_device, sized

pytestmark = pytest.mark.gpu

USERS, ITEMS, WIDTH = sized(700, 30), sized(20_000, 300), sized(64, 16)
#: Scores held at a time: everything at once, whole rows of a few users, and tiles of items.
TILES = (2**24, 40 * ITEMS, 32 * 128)


def whole_numbers(interests: int) -> tuple[Tensor, Tensor]:
    """Return users (B, K, D) and items (N, D) of small integers, in float32."""
    generator = torch.Generator().manual_seed(1)
    users = torch.randint(-2, 3, (USERS, interests, WIDTH), generator=generator)
    return users.float(), torch.randint(-2, 3, (ITEMS, WIDTH), generator=generator).float()


def doubled() -> tuple[Tensor, Tensor, Tensor]:
    """Return users, items of which each comes twice, in random order, and the id of each item's copy."""
    generator = torch.Generator().manual_seed(2)
    users = torch.randn(USERS, 1, WIDTH, generator=generator)
    once = torch.randn(ITEMS // 2, WIDTH, generator=generator)
    number = torch.arange(ITEMS) % (ITEMS // 2)
    order = torch.randperm(ITEMS, generator=generator)
    number = number[order]
    position = torch.argsort(number, stable=True).view(-1, 2)  # of both copies of each
    copies = torch.empty(ITEMS, dtype=torch.int64)
    copies[position[:, 0]], copies[position[:, 1]] = position[:, 1] + 1, position[:, 0] + 1
    return users.to(DEVICE), once[number].to(DEVICE), copies.to(DEVICE)


def ids(columns: int, seed: int) -> Tensor:
    """Return (B, columns) ids, some of them padding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, ITEMS + 1, (USERS, columns), generator=generator)


@pytest.mark.parametrize("tile_elements", TILES)
@pytest.mark.parametrize("excludes", [False, True])
@pytest.mark.parametrize("interests", [1, 3])
def test_ranks_are_those_of_the_cpu(interests: int, excludes: bool, tile_elements: int) -> None:
    users, items = whole_numbers(interests)
    targets, excluded = ids(3, 3), ids(20, 4) if excludes else None
    expected = target_ranks(users.double(), items.double(), targets, excluded=excluded)
    found = target_ranks(
        users.to(DEVICE),
        items.to(DEVICE),
        targets.to(DEVICE),
        excluded=None if excluded is None else excluded.to(DEVICE),
        tile_elements=tile_elements,
    )
    assert is_on_device(found)
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("tile_elements", TILES)
def test_copies_of_an_item_tie(tile_elements: int) -> None:
    users, items, copies = doubled()
    targets = ids(3, 3).clamp(min=1).to(DEVICE)
    both = torch.cat([targets, copies[targets - 1]], 1)
    ranks = target_ranks(users, items, both, tile_elements=tile_elements)
    assert torch.equal(ranks[:, :3], ranks[:, 3:])
    assert bool((ranks % 2 == 0).all())  # pairs all the way up, and the copy counts against the target


@pytest.mark.parametrize("tile_elements", TILES[1:])
def test_ranks_do_not_depend_on_the_tiles(tile_elements: int) -> None:
    users, items, _ = doubled()
    targets = ids(2, 3).to(DEVICE)
    whole = target_ranks(users, items, targets)
    tiled = target_ranks(users, items, targets, tile_elements=tile_elements)
    # between items that are no copies the last bit may fall either way
    assert int((whole - tiled).abs().max()) <= 2
    assert float((whole != tiled).float().mean()) < 0.01


@pytest.mark.parametrize("tile_elements", TILES)
@pytest.mark.parametrize("excludes", [False, True])
@pytest.mark.parametrize("interests", [1, 3])
def test_lists_are_those_of_the_cpu(interests: int, excludes: bool, tile_elements: int) -> None:
    users, items = whole_numbers(interests)
    excluded = ids(20, 4) if excludes else None
    expected = top_items(users.double(), items.double(), 50, excluded=excluded)
    found = top_items(
        users.to(DEVICE),
        items.to(DEVICE),
        50,
        excluded=None if excluded is None else excluded.to(DEVICE),
        tile_elements=tile_elements,
    )
    assert torch.equal(found[0].cpu(), expected[0])
    assert torch.equal(found[1].cpu().double(), expected[1])


@pytest.mark.parametrize("tile_elements", TILES)
def test_copies_stand_side_by_side_in_a_list(tile_elements: int) -> None:
    users, items, copies = doubled()
    found, scores = top_items(users, items, 20, tile_elements=tile_elements)
    first, second = found[:, ::2], found[:, 1::2]
    assert torch.equal(second, copies[first - 1])
    assert bool((first < second).all())  # equal scores by ascending id
    assert torch.equal(scores[:, ::2], scores[:, 1::2])


def test_ranks_and_lists_agree() -> None:
    users, items = (tensor.to(DEVICE) for tensor in whole_numbers(1))
    listed, _ = top_items(users, items, 10)
    ranks = target_ranks(users, items, listed)
    # ties count against a target: its rank is at least its position
    assert bool((ranks >= torch.arange(1, 11, device=ranks.device)).all())


def test_diverse_lists_are_those_of_the_cpu() -> None:
    users, items = whole_numbers(1)
    candidates, scores = top_items(users, items, 60)
    generator = torch.Generator().manual_seed(5)
    categories = torch.randint(0, 6, (ITEMS + 1, 2), generator=generator)
    for diversity in (0.0, 0.5, 8.0):
        expected = diverse_items(candidates, scores, categories, 15, diversity)
        moved = (tensor.to(DEVICE) for tensor in (candidates, scores, categories))
        found = diverse_items(*moved, 15, diversity)
        assert all(torch.equal(one.cpu(), other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("metric", [RecallAtN, HitRateAtN, NDCGAtN, MRRAtN])
def test_metrics_are_those_of_the_cpu(metric: type) -> None:
    ranks = ids(4, 6)
    here, there = metric((5, 50)).to(DEVICE), metric((5, 50))
    here.update(ranks.to(DEVICE))
    there.update(ranks)
    for name, value in there.compute().items():
        assert float(here.compute()[name]) == pytest.approx(float(value), abs=1e-9)
