from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_croloss.metrics import HitRateAtN, MRRAtN, NDCGAtN, RecallAtN
from lightning_croloss.retrieval import target_ranks, top_items
from lightning_croloss.retrieval.ranks import UNREACHABLE
from lightning_croloss.retrieval.tiles import ScoreTiles

Case = tuple[Tensor, Tensor, Tensor, Tensor]


def integer_case(
    seed: int, num_users: int, interests: int, num_items: int, dtype: torch.dtype = torch.float32
) -> Case:
    """Users, items, targets and excluded with many ties: products of small integers are exact."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    users = integers(-2, 3, num_users, interests, 3).to(dtype)
    items = integers(-2, 3, num_items, 3).to(dtype)
    targets = integers(0, num_items + 1, num_users, 3)
    excluded = integers(0, num_items + 1, num_users, 4)
    return users, items, targets, excluded


def score_lists(users: Tensor, items: Tensor) -> list[list[float]]:
    """Scores by plain loops; NaN wins a maximum as in PyTorch."""
    scores = torch.einsum("bkd,nd->bkn", users.double(), items.double())
    return [[value.item() for value in row] for row in scores.amax(1)]


def naive_ranks(users: Tensor, items: Tensor, targets: Tensor, excluded: Tensor | None = None) -> Tensor:
    ranks = torch.zeros_like(targets)
    for user, scores in enumerate(score_lists(users, items)):
        banned = set(excluded[user].tolist()) if excluded is not None else set()
        for place, target in enumerate(targets[user].tolist()):
            if target == 0 or target in targets[user, :place]:
                continue
            if target in banned:
                ranks[user, place] = UNREACHABLE + 1 + place
                continue
            rank = 1
            for item in range(1, len(items) + 1):
                if item != target and item not in banned and not scores[item - 1] < scores[target - 1]:
                    rank += 1
            ranks[user, place] = rank
    return ranks


def naive_top(users: Tensor, items: Tensor, n: int, excluded: Tensor) -> tuple[Tensor, Tensor]:
    all_ids, all_scores = [], []
    for user, scores in enumerate(score_lists(users, items)):
        banned = set(excluded[user].tolist())
        candidates = [(-score, item) for item, score in enumerate(scores, start=1) if item not in banned]
        best = sorted(candidates)[:n]
        missing = n - len(best)
        all_ids.append([item for _, item in best] + [0] * missing)
        all_scores.append([-score for score, _ in best] + [-math.inf] * missing)
    return torch.tensor(all_ids), torch.tensor(all_scores, dtype=torch.float64)


CASES = {
    "seed": st.integers(0, 2**31),
    "num_users": st.integers(1, 20),
    "interests": st.sampled_from([1, 4]),
    "num_items": st.integers(1, 23),
    "tile_elements": st.sampled_from([1, 5, 16, 100, 1000, 2**24]),
    "dtype": st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
}


@settings(max_examples=120)
@given(**CASES)
@pytest.mark.slow
def test_ranks_equal_the_definition(
    seed: int, num_users: int, interests: int, num_items: int, tile_elements: int, dtype: torch.dtype
) -> None:
    users, items, targets, excluded = integer_case(seed, num_users, interests, num_items, dtype)
    ranks = target_ranks(users, items, targets, tile_elements=tile_elements)
    assert ranks.dtype == torch.int64
    assert torch.equal(ranks, naive_ranks(users, items, targets))
    ranks = target_ranks(users, items, targets, excluded=excluded, tile_elements=tile_elements)
    assert torch.equal(ranks, naive_ranks(users, items, targets, excluded))


@settings(max_examples=120)
@given(**CASES, share=st.floats(0, 1))
@pytest.mark.slow
def test_top_equals_the_definition(
    seed: int,
    num_users: int,
    interests: int,
    num_items: int,
    tile_elements: int,
    dtype: torch.dtype,
    share: float,
) -> None:
    users, items, _, excluded = integer_case(seed, num_users, interests, num_items, dtype)
    n = max(1, round(share * num_items))
    ids, scores = top_items(users, items, n, excluded=excluded, tile_elements=tile_elements)
    expected_ids, expected_scores = naive_top(users, items, n, excluded)
    assert ids.dtype == torch.int64
    assert scores.dtype == dtype
    assert torch.equal(ids, expected_ids)
    assert torch.equal(scores.double(), expected_scores)
    ids, scores = top_items(users, items, n, tile_elements=tile_elements)
    assert torch.equal(ids, naive_top(users, items, n, torch.zeros(num_users, 1).long())[0])


@pytest.mark.parametrize("interests", [1, 4])
@pytest.mark.parametrize("tile_elements", [50, 3_000, 40_000, 2**24])
def test_wide_tiles_and_ragged_last_ones(interests: int, tile_elements: int) -> None:
    users, items, targets, excluded = integer_case(3, 40, interests, 331)
    whole = target_ranks(users, items, targets, excluded=excluded)
    assert torch.equal(whole, naive_ranks(users, items, targets, excluded))
    tiled = target_ranks(users, items, targets, excluded=excluded, tile_elements=tile_elements)
    assert torch.equal(tiled, whole)
    ids, scores = top_items(users, items, 100, excluded=excluded, tile_elements=tile_elements)
    expected_ids, expected_scores = naive_top(users, items, 100, excluded)
    assert torch.equal(ids, expected_ids)
    assert torch.equal(scores.double(), expected_scores)


@pytest.mark.parametrize("tile_elements", [1, 64, 1000, 30_000, 10**6])
@pytest.mark.parametrize(("num_users", "interests", "num_items"), [(1, 1, 1), (40, 4, 331), (500, 1, 1000)])
def test_tiles_stay_within_the_budget_and_cover_each_item_once(
    tile_elements: int, num_users: int, interests: int, num_items: int
) -> None:
    users, items = torch.ones(num_users, interests, 2), torch.ones(num_items, 2)
    tiles = ScoreTiles(users, items, tile_elements)
    assert tiles.rows * interests * tiles.width <= max(tile_elements, interests)
    seen = []
    for first, scores in tiles.scores(next(tiles.blocks())):
        assert scores.shape[0] == tiles.rows
        seen.extend(range(first, first + scores.shape[1]))
    assert seen == list(range(num_items))
    rows = [row for block in tiles.blocks() for row in range(num_users)[block]]
    assert rows == list(range(num_users))


@pytest.mark.parametrize("tile_elements", [7, 10_000, 2**24])
@pytest.mark.parametrize("interests", [1, 4])
def test_constant_model_gets_the_worst_rank(interests: int, tile_elements: int) -> None:
    users = torch.randint(-3, 4, (9, interests, 5)).float()
    targets = torch.tensor([[1, 50, 203]]).expand(9, 3)
    for item in (torch.zeros(5), torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0])):
        ranks = target_ranks(users, item.expand(203, 5), targets, tile_elements=tile_elements)
        assert (ranks == 203).all()


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="other BLAS may round equal items apart")
@pytest.mark.parametrize("tile_elements", [100_000, 2**24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_model_with_rounding_gets_the_worst_rank(dtype: torch.dtype, tile_elements: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for num_users, dim, num_items in ((3, 7, 1003), (1, 37, 5001), (33, 64, 1003)):
        users = torch.randn(num_users, 1, dim, generator=generator).to(dtype)
        items = torch.randn(dim, generator=generator).to(dtype).expand(num_items, dim)
        targets = torch.tensor([[1, 500, num_items - 1, num_items]]).expand(num_users, 4)
        ranks = target_ranks(users, items, targets, tile_elements=tile_elements)
        assert (ranks == num_items).all()


@pytest.mark.parametrize("tile_elements", [7, 100, 2**24])
def test_nan_counts_against_the_target(tile_elements: int) -> None:
    users, items, _, _ = integer_case(5, 6, 2, 40)
    targets = torch.tensor([[1, 7, 40]]).expand(6, 3)
    budget = {"tile_elements": tile_elements}
    assert (target_ranks(users * torch.nan, items, targets, **budget) == 40).all()
    assert (target_ranks(users, items * torch.nan, targets, **budget) == 40).all()

    one = items.clone()
    one[6] = torch.nan  # item 7: it is worst as a target and beats the others as a rival
    ranks = target_ranks(users, one, targets, **budget)
    assert (ranks[:, 1] == 40).all()
    assert torch.equal(ranks, naive_ranks(users, one, targets))
    # an excluded NaN is no rival; a NaN target is not beaten by the excluded
    for ids in ([7, 7, 3], [3, 5, 0]):
        excluded = torch.tensor([ids]).expand(6, 3)
        ranks = target_ranks(users, one, targets, excluded=excluded, **budget)
        assert torch.equal(ranks, naive_ranks(users, one, targets, excluded))
    assert (ranks[:, 1] == 38).all()


def test_top_items_puts_nan_and_infinity_last() -> None:
    items = torch.tensor([[1.0], [torch.nan], [3.0], [-torch.inf], [torch.inf]])
    ids, scores = top_items(torch.ones(1, 1, 1), items, 5, excluded=torch.tensor([[3]]))
    assert ids.tolist() == [[5, 1, 2, 4, 0]]
    lowest = torch.finfo(torch.float32).min
    assert scores.tolist() == [[torch.inf, 1.0, lowest, lowest, -torch.inf]]


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    interests=st.sampled_from([1, 4]),
    tile_elements=st.sampled_from([40, 5_000, 2**24]),
)
@pytest.mark.slow
def test_top_and_ranks_agree_where_nothing_ties(seed: int, interests: int, tile_elements: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(7, interests, 8, generator=generator, dtype=torch.float64)
    items = torch.randn(90, 8, generator=generator, dtype=torch.float64)
    excluded = torch.randint(0, 91, (7, 5), generator=generator)
    for banned in (None, excluded):
        ids, scores = top_items(users, items, 85, excluded=banned, tile_elements=tile_elements)
        ranks = target_ranks(users, items, ids, excluded=banned, tile_elements=tile_elements)
        assert torch.equal(ranks, torch.arange(1, 86).expand(7, 85) * (ids > 0))
        assert (scores[:, 1:] <= scores[:, :-1]).all()


def test_a_target_is_ranked_against_itself_never() -> None:
    # the best item by far: any rounding between its score as target and as rival would show
    generator = torch.Generator().manual_seed(0)
    items = torch.nn.functional.normalize(torch.randn(5000, 37, generator=generator), dim=1)
    users = items[:200].unsqueeze(1)
    targets = torch.arange(1, 201).unsqueeze(1)
    for tile_elements in (10_000, 300_000, 2**24):
        assert (target_ranks(users, items, targets, tile_elements=tile_elements) == 1).all()


def test_other_targets_stay_candidates_and_excluded_targets_are_misses() -> None:
    users, items = torch.ones(1, 1, 1), torch.tensor([[5.0], [4.0], [3.0], [2.0]])
    targets = torch.tensor([[1, 2, 4]])
    assert target_ranks(users, items, targets).tolist() == [[1, 2, 4]]
    # repeated ids count once; item 2 is excluded, so it is no rival of item 4, and in no list itself
    excluded = torch.tensor([[2, 2, 0]])
    assert target_ranks(users, items, targets, excluded=excluded).tolist() == [[1, UNREACHABLE + 2, 3]]
    assert target_ranks(users, items, targets, excluded=targets).tolist() == [
        [UNREACHABLE + 1, UNREACHABLE + 2, UNREACHABLE + 3]
    ]


def test_a_target_that_comes_again_is_no_other_target() -> None:
    users, items = torch.ones(1, 1, 1), torch.tensor([[5.0], [4.0], [3.0], [2.0]])
    targets = torch.tensor([[4, 1, 4, 0, 1, 4]])
    assert target_ranks(users, items, targets).tolist() == [[4, 1, 0, 0, 0, 0]]


METRICS = (RecallAtN, HitRateAtN, NDCGAtN, MRRAtN)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31), num_items=st.integers(1, 9), width=st.integers(1, 12), excludes=st.booleans()
)
def test_metrics_are_those_of_the_lists_whatever_the_targets(
    seed: int, num_items: int, width: int, excludes: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(4, 2, 3, generator=generator, dtype=torch.float64)
    items = torch.randn(num_items, 3, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, num_items + 1, (4, width), generator=generator)  # repeats, often barred
    excluded = torch.randint(0, num_items + 1, (4, 5), generator=generator) if excludes else None
    ranks = target_ranks(users, items, targets, excluded=excluded)
    lists = top_items(users, items, num_items, excluded=excluded)[0].tolist()
    ns = (1, 2, 5, 600)  # also more than there are
    found = {}
    for kind in METRICS:
        metric = kind(ns)
        metric.update(ranks, targets != 0)
        found |= {name: value.item() for name, value in metric.compute().items()}
        assert all(0 <= value <= 1 + 1e-9 for value in found.values())
    shares = {n: [] for n in ns}
    for wanted, got in zip(targets.tolist(), lists, strict=True):
        if wanted := set(wanted) - {0}:
            for n in ns:
                shares[n].append(len(wanted & set(got[:n])) / len(wanted))
    for n, values in shares.items():
        assert found[f"recall@{n}"] == pytest.approx(sum(values) / max(1, len(values)), abs=1e-9)


def test_autocast_and_gradients_do_not_reach_inside() -> None:
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(6, 2, 16, generator=generator, requires_grad=True)
    items = torch.randn(500, 16, generator=generator, requires_grad=True)
    targets = torch.randint(1, 501, (6, 3), generator=generator)
    expected = target_ranks(users, items, targets)
    ids, scores = top_items(users, items, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(target_ranks(users, items, targets), expected)
        cast_ids, cast_scores = top_items(users, items, 10)
    assert torch.equal(cast_ids, ids)
    assert torch.equal(cast_scores, scores)
    assert not scores.requires_grad


def test_mixed_dtypes_use_the_wider_one() -> None:
    users, items, targets, _ = integer_case(1, 5, 2, 30)
    assert torch.equal(target_ranks(users.bfloat16(), items, targets), naive_ranks(users, items, targets))
    assert top_items(users.bfloat16(), items, 3)[1].dtype == torch.float32


def test_empty_inputs() -> None:
    users, items, targets, excluded = integer_case(1, 5, 2, 30)
    assert target_ranks(users[:0], items, targets[:0], excluded=excluded[:0]).shape == (0, 3)
    assert target_ranks(users, items, targets[:, :0]).shape == (5, 0)
    assert top_items(users[:0], items, 4)[0].shape == (0, 4)
    assert torch.equal(
        target_ranks(users, items, targets, excluded=excluded[:, :0]), naive_ranks(users, items, targets)
    )


def test_mistakes_are_named() -> None:
    users, items, targets, excluded = integer_case(1, 5, 2, 30)
    for n in (0, -1, 31):
        with pytest.raises(ValueError, match=rf"n must be in 1 … 30, the number of items, got {n}"):
            top_items(users, items, n)
    with pytest.raises(ValueError, match=r"users must have shape \(B, K, D\), got \(5, 3\)"):
        target_ranks(users[:, 0], items, targets)
    with pytest.raises(
        ValueError, match=r"item_matrix must have shape \(N, 3\) to match users, got \(30, 2\)"
    ):
        target_ranks(users, items[:, :2], targets)
    with pytest.raises(ValueError, match=r"targets must have shape \(5, X\).* got \(4, 3\)"):
        target_ranks(users, items, targets[:4])
    with pytest.raises(ValueError, match=r"targets must hold item ids in 0 … 30.* got 31"):
        target_ranks(users, items, targets.clone().fill_(31))
    with pytest.raises(ValueError, match=r"excluded must hold item ids in 0 … 30.* got -1"):
        top_items(users, items, 3, excluded=-excluded.clone().fill_(1))
    with pytest.raises(TypeError, match=r"targets must hold integer item ids, got torch\.float32"):
        target_ranks(users, items, targets.float())
    with pytest.raises(ValueError, match="tile_elements must be at least 1, got 0"):
        target_ranks(users, items, targets, tile_elements=0)
