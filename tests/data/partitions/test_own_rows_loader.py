"""Loaders of processes with numbers of rows of their own: as many batches each, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lightning_croloss.data.loader import BatchLoader
from lightning_croloss.data.own_rows_loader import OwnRowsLoader, check_rows, whole_batches
from lightning_croloss.errors import DataError


class Numbers:
    """Rows that are their own numbers."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.widths = torch.arange(count) % 7

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: Tensor) -> Any:
        return indices.tolist()


def loaders(sizes: list[int], batch_size: int, shuffle: bool, **options: Any) -> list[OwnRowsLoader]:
    return [
        OwnRowsLoader(Numbers(size), batch_size, shuffle, 3, rank, sizes, **options)
        for rank, size in enumerate(sizes)
    ]


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@given(SIZES, st.integers(1, 9), st.booleans())
def test_training(sizes: list[int], batch_size: int, grouped: bool) -> None:
    found = loaders(sizes, batch_size, True, group_by_length=grouped)
    epochs = [[list(loader) for loader in found] for _ in range(2)]
    for epoch in epochs:
        shapes = [list(map(len, batches)) for batches in epoch]
        assert all(shape == shapes[0] for shape in shapes)
        assert sum(shapes[0]) == min(sizes)
        assert len(shapes[0]) == len(found[0])
        for batches, size in zip(epoch, sizes, strict=True):
            rows = [row for batch in batches for row in batch]
            assert len(set(rows)) == len(rows)
            assert {*rows} <= {*range(size)}


def test_other_rows_are_left_out_in_each_epoch() -> None:
    _, loader = loaders([10, 30], 5, True)
    epochs = [{row for batch in loader for row in batch} for _ in range(20)]
    assert set().union(*epochs) == {*range(30)}


@given(SIZES, st.integers(1, 9))
def test_evaluation(sizes: list[int], batch_size: int) -> None:
    found = loaders(sizes, batch_size, False)
    for loader, size in zip(found, sizes, strict=True):
        batches = list(loader)
        assert [row for batch in batches for row in batch] == [*range(size)]
        assert len(batches) == len(loader) == whole_batches(sizes, batch_size)
        assert all(batches)


@given(SIZES, st.integers(1, 6), st.integers(0, 30), st.booleans())
def test_an_epoch_goes_on_where_it_was(sizes: list[int], batch_size: int, stop: int, grouped: bool) -> None:
    options = {"group_by_length": grouped, "recounted": True}
    for loader, other in zip(
        loaders(sizes, batch_size, True, **options), loaders(sizes, batch_size, True, **options), strict=True
    ):
        whole = list(loader)
        some = iter(other)
        before = [next(some) for _ in range(min(stop, len(whole)))]
        fresh = loaders(sizes, batch_size, True, **options)[loader.rank]
        fresh.load_state_dict(other.state_dict())
        if len(before) < len(whole):
            assert [*before, *fresh] == whole


def test_the_middle_of_an_epoch_of_others() -> None:
    loader = loaders([10, 12], 3, True)[0]
    next(iter(loader))
    state = loader.state_dict()
    for sizes in ([20], [7, 7, 8]):
        with pytest.raises(ValueError, match="in the middle of an epoch of 2 processes"):
            loaders(sizes, 3, True)[0].load_state_dict(state)
    shared = {name: value for name, value in state.items() if name != "processes"}
    with pytest.raises(ValueError, match="in the middle of an epoch of rows that all processes share"):
        loaders([10, 12], 3, True)[0].load_state_dict(shared)
    with pytest.raises(ValueError, match="now it would be one of rows that all processes share"):
        BatchLoader(Numbers(20), 3, True, 3).load_state_dict(state)
    list(loader)
    BatchLoader(Numbers(20), 3, True, 3).load_state_dict(loader.state_dict())
    loaders([7, 7, 8], 3, True)[0].load_state_dict(loader.state_dict())  # at the end of an epoch


def test_shares_that_are_too_unlike() -> None:
    check_rows([3, 5], "test", 2)
    with pytest.raises(DataError, match="test has no rows in process 1 of 2: use fewer devices"):
        check_rows([3, 0], "test", 2)
    with pytest.raises(DataError, match="test has 1 rows in one process and 100 in another"):
        check_rows([1, 100], "test", 2)
