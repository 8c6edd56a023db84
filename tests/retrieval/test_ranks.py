"""How ranks are counted: tiles that fit the cache, scores of pairs, kernels of the product."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_croloss.common import products
from lightning_croloss.retrieval import comparisons, counting, pairs, ranks, target_ranks
from lightning_croloss.retrieval.tiles import ScoreTiles


def naive(users: Tensor, items: Tensor, targets: Tensor, excluded: Tensor) -> Tensor:
    """Ranks from one matrix of exact scores."""
    scores = torch.einsum("bkd,nd->bkn", users.double(), items.double()).amax(1)
    found = torch.zeros_like(targets)
    for row, column in targets.nonzero().tolist():
        target = targets[row, column] - 1
        if target + 1 in targets[row, :column]:
            continue
        if target + 1 in excluded[row]:
            found[row, column] = ranks.UNREACHABLE + 1 + column
            continue
        rival = ~(scores[row] < scores[row, target])
        rival[target] = False
        rival[excluded[row][excluded[row] > 0] - 1] = False
        found[row, column] = 1 + rival.sum()
    return found


def case(
    interests: int, num_users: int = 150, num_items: int = 1203
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Products of small integers, exact in float32, with many ties; users with none to seven targets."""
    generator = torch.Generator().manual_seed(interests)
    users = torch.randint(-2, 3, (num_users, interests, 6), generator=generator).float()
    items = torch.randint(-2, 3, (num_items, 6), generator=generator).float()
    targets = torch.randint(1, num_items + 1, (num_users, 7), generator=generator)
    targets[:, 2:] *= torch.rand(num_users, 5, generator=generator) < 0.3
    targets[::11] = 0
    excluded = torch.randint(0, num_items + 1, (num_users, 40), generator=generator)
    excluded[::2, 0] = targets[::2, 0]
    targets[::5, 1] = targets[::5, 0]
    return users, items, targets, excluded


@pytest.mark.parametrize("product", [None, products._linear_pointwise, products._linear_of_layouts])
@pytest.mark.parametrize("interests", [1, 3])
def test_every_kernel_and_kind_of_tile_gives_the_same_ranks(monkeypatch, product, interests: int) -> None:
    users, items, targets, excluded = case(interests)
    expected = naive(users, items, targets, excluded)
    monkeypatch.setattr(products, "_onednn", lambda: product)
    for tile_elements in (2_000, 30_000, 2**24):
        found = target_ranks(users, items, targets, excluded=excluded, tile_elements=tile_elements)
        assert torch.equal(found, expected)


def test_scores_of_pairs_are_those_of_the_tiles() -> None:
    users, items, targets, _ = case(3)
    rows, columns = targets.nonzero(as_tuple=True)
    tiles = ScoreTiles(users, items, 30_000, 50, 50)
    for block in tiles.blocks():
        inside = (rows >= block.start) & (rows < block.stop)
        ids = targets[rows[inside], columns[inside]]
        whole = torch.cat([scores for _, scores in tiles.scores(block)], dim=1)
        found = tiles.scores_of_pairs(block, rows[inside] - block.start, ids)
        assert torch.equal(found, whole[rows[inside] - block.start, ids - 1])


def test_a_library_that_rounds_pairs_otherwise_changes_no_rank(monkeypatch) -> None:
    users, items, targets, excluded = case(1)
    expected = naive(users, items, targets, excluded)
    exact = ScoreTiles.scores_of_pairs
    asked = []

    def rounded(self: ScoreTiles, *arguments: object) -> Tensor:
        asked.append(arguments)
        return exact(self, *arguments) - 0.25  # below every item of the same score, the target's own too

    monkeypatch.setattr(ScoreTiles, "scores_of_pairs", rounded)
    assert torch.equal(target_ranks(users, items, targets, excluded=excluded, tile_elements=30_000), expected)
    assert asked


def test_truth_values_count_as_numbers_do(monkeypatch) -> None:
    users, items, targets, excluded = case(1)
    expected = target_ranks(users, items, targets, excluded=excluded)
    monkeypatch.setattr(comparisons, "_MOST_COLUMNS", 0)
    assert torch.equal(target_ranks(users, items, targets, excluded=excluded), expected)


@pytest.mark.parametrize("compared", [1, 2**20])
@pytest.mark.parametrize("heavy", [0, 2, 4])
def test_users_with_many_targets_are_ranked_alike(monkeypatch, heavy: int, compared: int) -> None:
    """Sorting the scores of a row gives what comparing gives, with NaN and infinities too."""
    users, items, targets, excluded = case(2, num_users=40, num_items=203)
    items[5], items[17] = torch.nan, torch.inf
    targets[1, :3] = torch.tensor([6, 18, 7])
    excluded[1, :2] = torch.tensor([8, 6])
    targets[1, 0] = 9
    expected = target_ranks(users, items, targets, excluded=excluded)
    monkeypatch.setattr(pairs, "_HEAVY", heavy)
    monkeypatch.setattr(counting, "_MOST_COMPARED", compared)
    for tile_elements in (2_000, 2**24):
        found = target_ranks(users, items, targets, excluded=excluded, tile_elements=tile_elements)
        assert torch.equal(found, expected)
