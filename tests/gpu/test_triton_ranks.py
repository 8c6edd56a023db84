"""Exact ranks by the kernels in Triton: those of the portable counting, with ties, copies and exclusions.

On a GPU they are compiled; elsewhere Triton's interpreter runs them, in tiles smaller than the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lightning_croloss.common.triton_switch import triton_kernels
from lightning_croloss.retrieval import ranks, target_ranks
from tests.gpu.device import DEVICE, ON_GPU, sized
from tests.gpu.test_triton import INTERPRETER

pytest.importorskip("triton", reason="Triton is not installed: pip install triton, or the extra dev")
pytestmark = [pytest.mark.gpu, INTERPRETER]

USERS, ITEMS, WIDTH = sized(700, 37), sized(20_000, 150), sized(64, 20)


@pytest.fixture(autouse=True)
def by_triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Turn the kernels on, and note of each block whether they have counted it."""
    from lightning_croloss.retrieval.triton import counts

    if not ON_GPU:
        monkeypatch.setattr(counts, "ROWS", 16)
        monkeypatch.setattr(counts, "COLUMNS", 32)
        monkeypatch.setattr(counts, "programs_of", lambda device: 12)
    done: list[bool] = []
    real = ranks._rank_by_triton

    def noted(*arguments: Tensor) -> bool:
        done.append(real(*arguments))
        return done[-1]

    monkeypatch.setattr(ranks, "_rank_by_triton", noted)
    with triton_kernels(True):
        yield done


def whole_numbers(interests: int, width: int = WIDTH) -> tuple[Tensor, Tensor]:
    """Return users (B, K, D) and items (N, D) of small integers, whose products are exact and often tie."""
    generator = torch.Generator().manual_seed(1)
    users = torch.randint(-2, 3, (USERS, interests, width), generator=generator)
    return users.float(), torch.randint(-2, 3, (ITEMS, width), generator=generator).float()


def ids(columns: int, seed: int) -> Tensor:
    """Return (B, columns) ids, some of them padding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, ITEMS + 1, (USERS, columns), generator=generator)


def assert_same_ranks(users: Tensor, items: Tensor, targets: Tensor, excluded: Tensor | None) -> None:
    """Fail unless the ranks on the device are those that the CPU counts portably in float64."""
    with triton_kernels(False):
        expected = target_ranks(users.double(), items.double(), targets, excluded=excluded)
    moved = None if excluded is None else excluded.to(DEVICE)
    found = target_ranks(users.to(DEVICE), items.to(DEVICE), targets.to(DEVICE), excluded=moved)
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("excludes", [False, True])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("interests", [1, 3])
def test_ranks_are_those_of_the_portable_counting(
    by_triton: list[bool], interests: int, targets: int, excludes: bool
) -> None:
    assert_same_ranks(*whole_numbers(interests), ids(targets, 3), ids(9, 4) if excludes else None)
    assert by_triton == [True]


def test_more_targets_than_a_program_takes(by_triton: list[bool]) -> None:
    users, items = whole_numbers(1)
    few = slice(0, 9)
    assert_same_ranks(users[few], items[:70], ids(18, 3)[few].clamp(max=70), ids(3, 4)[few].clamp(max=70))
    assert by_triton == [True]


@pytest.mark.parametrize("width", [1, 16, 100, 128])
def test_every_width(by_triton: list[bool], width: int) -> None:
    assert_same_ranks(*whole_numbers(1, width), ids(1, 5).clamp(min=1), None)
    assert by_triton == [True]


def test_nan_counts_against_the_target(by_triton: list[bool]) -> None:
    users, items = whole_numbers(2)
    users[::3, 1, 0] = torch.nan
    items[7, 2] = torch.nan
    targets = ids(2, 6)
    targets[0] = torch.tensor([8, 1])
    assert_same_ranks(users, items, targets, ids(4, 7))
    assert by_triton == [True]


def test_copies_tie_to_the_last_bit(by_triton: list[bool]) -> None:
    generator = torch.Generator().manual_seed(2)
    once = torch.randn(ITEMS // 2, WIDTH, generator=generator)
    number = torch.arange(ITEMS) % (ITEMS // 2)
    users = torch.randn(USERS, 1, WIDTH, generator=generator).to(DEVICE)
    wanted = torch.randint(0, ITEMS // 2, (USERS,), generator=generator)
    pair = torch.stack([wanted + 1, wanted + 1 + ITEMS // 2], 1).to(DEVICE)
    found = target_ranks(users, once[number].to(DEVICE), pair)
    assert by_triton == [True]
    assert torch.equal(found[:, 0], found[:, 1])
    assert bool((found % 2 == 0).all())  # every rival comes twice, and the copy counts


def test_scores_that_differ_are_counted_portably(
    monkeypatch: pytest.MonkeyPatch, by_triton: list[bool]
) -> None:
    from lightning_croloss.retrieval.triton import counts

    real = counts.scores_of_pairs
    monkeypatch.setattr(counts, "scores_of_pairs", lambda *given: real(*given) * (1 + 2**-20))
    assert_same_ranks(*whole_numbers(1), ids(2, 3), ids(9, 4))
    assert by_triton == [False]


def test_blocks_of_rows(monkeypatch: pytest.MonkeyPatch, by_triton: list[bool]) -> None:
    monkeypatch.setattr(ranks, "_ROWS_BY_TRITON", USERS // 2)
    assert_same_ranks(*whole_numbers(1), ids(1, 3), ids(9, 4))
    assert by_triton == [True] * (2 + USERS % 2)


def test_what_the_kernels_do_not_take_is_counted_portably(by_triton: list[bool]) -> None:
    users, items = whole_numbers(1)
    assert_same_ranks(users.double(), items.double(), ids(1, 3), None)
    assert_same_ranks(users, items, ids(65, 3), None)
    assert_same_ranks(*whole_numbers(1, 129), ids(1, 3), None)
    torch.set_float32_matmul_precision("high")  # the fixture of this folder puts it back
    assert_same_ranks(users, items, ids(1, 3), None)
    assert by_triton == []
