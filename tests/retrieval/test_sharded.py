"""Ranks and top items over a catalogue in shards equal those of one process."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_croloss.metrics import RankMetrics
from lightning_croloss.retrieval import pairs, sharded
from lightning_croloss.retrieval.sharded import ItemShards
from lightning_croloss.retrieval.tiles import ScoreTiles
from lightning_croloss.sharding.row_shards import RowShards
from tests.distributed import run_distributed
from tests.retrieval.sharded_cases import Case, integer_case, wide_case

SEEDS = range(24)


def ranked(case: Case, rank: int, processes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ranks, ids and scores of a process's users."""
    shards = ItemShards.of(RowShards(len(case.items) + 1, processes, rank))
    own = case.items[shards.before : shards.before + shards.num_own]
    users, excluded = case.users[rank], case.excluded[rank]
    excluded = excluded if excluded.shape[1] else None
    budget = {"excluded": excluded, "tile_elements": case.tile_elements}
    ranks = sharded.target_ranks(users, own, case.targets[rank], shards, **budget)
    return ranks, *sharded.top_items(users, own, case.n, shards, **budget)


def every_case(rank: int, processes: int) -> dict[str, object]:
    """Return what a process finds in all cases; processes are slow to start."""
    torch.manual_seed(rank)
    found: dict[str, object] = {
        "cases": [ranked(integer_case(seed, processes), rank, processes) for seed in SEEDS]
    }
    for dtype in (torch.float32, torch.float64):
        found[str(dtype)] = ranked(wide_case(dtype, processes), rank, processes)
    found["equal"] = ranked(wide_case(torch.float32, processes, equal_items=40), rank, processes)
    found["vectors"] = vectors_of_items(rank, processes)
    found["most"] = sharded.largest(10 + rank, torch.device("cpu"))

    case, heavy = wide_case(torch.float32, processes), pairs._HEAVY
    pairs._HEAVY = 1
    found["heavy"] = ranked(case, rank, processes)[0]
    pairs._HEAVY = heavy

    exact, asked = ScoreTiles.scores_of_pairs, []

    def rounded(self: ScoreTiles, *arguments: object) -> Tensor:
        asked.append(arguments)
        return exact(self, *arguments) - 0.25  # below every item of the same score

    ScoreTiles.scores_of_pairs = rounded
    found["rounded"] = ranked(integer_case(0, processes), rank, processes)[0]
    ScoreTiles.scores_of_pairs = exact
    found["asked"] = len(asked)
    found["metrics"] = metrics_of_users(rank, processes)
    found["mistakes"] = mistakes(rank, processes)
    return found


def vectors_of_items(rank: int, processes: int) -> Tensor:
    case = integer_case(0, processes)
    shards = ItemShards.of(RowShards(len(case.items) + 1, processes, rank))
    own = case.items[shards.before : shards.before + shards.num_own]
    return sharded.item_vectors(torch.arange(rank, len(case.items) + 1), own, shards)


def metrics_of_users(rank: int, processes: int) -> dict[str, float]:
    case = wide_case(torch.float64, processes)
    metrics = RankMetrics((10, 500, 2000))
    metrics.update(ranked(case, rank, processes)[0], case.targets[rank] != 0)
    return {name: float(value) for name, value in metrics.compute().items()}


def mistakes(rank: int, processes: int) -> list[str]:
    """Return what is said of users of different widths, and of rows of too many items."""
    shards, said = ItemShards.of(RowShards(9, processes, rank)), []
    own, targets = torch.ones(shards.num_own, 2 + rank), torch.ones(1, 1, dtype=torch.long)
    for items in (own, torch.ones(9, 2)):
        try:
            sharded.target_ranks(torch.ones(1, 1, 2 + rank), items, targets, shards)
        except ValueError as error:
            said.append(str(error))
    return said


@pytest.fixture(scope="module", params=[1, 2, 4])
def found(request: pytest.FixtureRequest) -> list[dict]:
    return run_distributed(every_case, request.param)


def test_ranks_and_lists_equal_those_of_one_process(found: list[dict]) -> None:
    for seed in SEEDS:
        case = integer_case(seed, len(found))
        for process, (ranks, (ids, scores)) in zip(
            found, zip(case.ranks(), case.top(), strict=True), strict=True
        ):
            assert torch.equal(process["cases"][seed][0], ranks), seed
            assert torch.equal(process["cases"][seed][1], ids), seed
            assert torch.equal(process["cases"][seed][2], scores), seed


def test_of_real_vectors(found: list[dict]) -> None:
    """In float64 to the last rank; in float32 but for items whose scores differ in the last bit at most."""
    case = wide_case(torch.float64, len(found))
    for process, ranks, (ids, scores) in zip(found, case.ranks(), case.top(), strict=True):
        assert torch.equal(process["torch.float64"][0], ranks)
        assert torch.equal(process["torch.float64"][1], ids)
        torch.testing.assert_close(process["torch.float64"][2], scores, atol=1e-15, rtol=0)
    case = wide_case(torch.float32, len(found))
    ties = 0
    for process, ranks, (ids, scores) in zip(found, case.ranks(), case.top(), strict=True):
        off = (process["torch.float32"][0] - ranks).abs()
        assert not (off > 1).any()
        ties += int((off > 0).sum()) + int((process["torch.float32"][1] != ids).sum())
        torch.testing.assert_close(process["torch.float32"][2], scores, atol=1e-6, rtol=0)
    assert ties <= 2  # of 760 ranks and 12,650 places


def test_equal_items_of_different_shards_tie(found: list[dict]) -> None:
    case = wide_case(torch.float32, len(found), equal_items=40)
    off = [
        int((process["equal"][0] != ranks).sum()) for process, ranks in zip(found, case.ranks(), strict=True)
    ]
    assert sum(off) <= 2
    assert all(
        torch.equal(process["equal"][1], ids) for process, (ids, _) in zip(found, case.top(), strict=True)
    )


def test_users_of_many_targets_and_other_kernels(found: list[dict]) -> None:
    case = integer_case(0, len(found))
    for process, rounded in zip(found, case.ranks(), strict=True):
        assert torch.equal(process["heavy"], process["torch.float32"][0])
        assert torch.equal(process["rounded"], rounded)
    assert len(found) == 1 or sum(process["asked"] for process in found)


def test_metrics_are_those_of_one_process(found: list[dict]) -> None:
    case = wide_case(torch.float64, len(found))
    metrics = RankMetrics((10, 500, 2000))
    for ranks, targets in zip(case.ranks(), case.targets, strict=True):
        metrics.update(ranks, targets != 0)
    expected = {name: float(value) for name, value in metrics.compute().items()}
    assert 0 < expected["recall@500"] < 1
    for process in found:
        assert process["metrics"] == pytest.approx(expected, abs=1e-7)


def test_vectors_of_items_and_the_most_calls(found: list[dict]) -> None:
    items = integer_case(0, len(found)).items
    whole = torch.cat([torch.zeros_like(items[:1]), items])
    for rank, process in enumerate(found):
        assert torch.equal(process["vectors"], whole[rank:])
        assert process["most"] == 9 + len(found)


def test_mistakes_are_told_in_every_process(found: list[dict]) -> None:
    for process in found:
        assert process["mistakes"][-1].startswith("item_matrix must have shape (")
        if len(found) > 1:
            assert "all processes must have users and items of the same form" in process["mistakes"][0]


def test_shards_of_some_items() -> None:
    shards = ItemShards.of(RowShards(10, 4, 2))  # rows 0 1 2 | 3 4 5 | 6 7 8 | 9
    assert shards == ItemShards((2, 3, 3, 1), 2)
    assert (shards.num_items, shards.before, shards.num_own, shards.largest) == (9, 5, 3, 3)
    assert shards.local(torch.tensor([0, 5, 6, 8, 9])).tolist() == [0, 0, 1, 3, 0]
    some = shards.among(torch.tensor([2, 5, 8, 9]))
    assert some == ItemShards((1, 1, 1, 1), 2)
    assert shards.among(torch.tensor([1, 2, 9])) == ItemShards((2, 0, 0, 1), 2)
    assert ItemShards.of(RowShards(4, 4)).sizes == (0, 1, 1, 1)
