"""RowShards: as ``torch.chunk`` cuts, each row has one owner, more processes than rows are refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.sharding.row_shards import RowShards


@given(st.integers(1, 60), st.integers(1, 9))
def test_shards_are_the_chunks_of_torch(num_rows: int, num_shards: int) -> None:
    if num_shards > num_rows:
        with pytest.raises(ValueError, match="processes at most"):
            RowShards(num_rows, num_shards)
        return
    rows = torch.arange(num_rows)
    chunks = [*rows.chunk(num_shards), *[rows[:0]] * num_shards][:num_shards]
    for rank, chunk in enumerate(chunks):
        shard = RowShards(num_rows, num_shards, rank)
        assert rows[shard.start : shard.stop].equal(chunk)
        assert (shard.owners(chunk) == rank).all()
        assert shard.num_own == shard.sizes[rank] == len(chunk)
    assert sum(shard.sizes) == num_rows


def test_ids_are_as_short_as_a_table_lets_them() -> None:
    assert RowShards(2**31 - 1).id_dtype == torch.int32  # the last is 2^31 - 2
    assert RowShards(2**31).id_dtype == torch.int64


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_that_is_no_process_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=r"rank must be in 0 … 1"):
        RowShards(5, 2, rank)


def test_without_processes_there_is_one_shard() -> None:
    assert RowShards.here(7) == RowShards(7)
