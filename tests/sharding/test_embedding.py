"""ShardedEmbedding: rows, gradients, initial values and checkpoints as those of one process's embedding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed import checkpoint

from lightning_croloss.sharding.drawing import draw_rows
from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.sharding.layout import as_dtensor
from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.lazy_adam import LazyAdam
from tests.distributed import run_distributed

#: Rows of a table, among four processes: 3, 3, 3 and 2, or 2, 2, 1 and none.
ROWS = (11, 5)
WIDTH = 3


def _whole(rows: int, sparse: bool = False, padding: int | None = 0) -> nn.Embedding:
    torch.manual_seed(rows)
    return nn.Embedding(rows, WIDTH, padding, sparse=sparse, dtype=torch.float64)


def _ids(rows: int, process: int) -> Tensor:
    """Return the ids of a process: with repeats and padding, and none at all on the second process."""
    if process == 1:
        return torch.zeros(0, 4, dtype=torch.long)
    generator = torch.Generator().manual_seed(process)
    return torch.randint(0, rows, (2, 4), generator=generator)


def _loss(rows: Tensor, process: int) -> Tensor:
    return (1.0 + process) * (rows**3).sum() + rows.sum()


def _looked_up(rank: int, world: int, rows: int, sparse: bool) -> None:
    """Compare a step of look-ups, with own rows, with the mean of all processes' losses in one process."""
    whole = _whole(rows, sparse)
    own = ShardedEmbedding.from_whole(whole)
    for embedding in (whole, own):
        embedding.zero_grad()
    found = own(_ids(rows, rank))
    assert found.equal(whole(_ids(rows, rank)))
    _loss(found, rank).backward()
    sum(_loss(whole(_ids(rows, process)), process) for process in range(world)).div(world).backward()
    assert own.weight.grad is not None
    assert whole.weight.grad is not None
    assert own.weight.grad.is_sparse is sparse
    part = slice(own.shards.start, own.shards.stop)
    torch.testing.assert_close(own.weight.grad.to_dense(), whole.weight.grad.to_dense()[part])
    optimizers = [LazyAdam(embedding.parameters(), lr=0.1) for embedding in (own, whole)]
    for optimizer in optimizers:
        optimizer.step()
    torch.testing.assert_close(own.weight, whole.weight[part])


def _all_rows(rank: int, world: int, rows: int) -> None:
    """What each process says of its own rows is of all processes' losses; padding gets no gradient."""
    whole = _whole(rows)
    own = ShardedEmbedding.from_whole(whole)
    items = own.shards.own_items
    (own.own_items() ** 3).sum().mul(world).backward()
    (whole.weight[1:] ** 3).sum().backward()
    assert own.own_items().equal(whole.weight[items.start : items.stop])
    part = whole.weight.grad[own.shards.start : own.shards.stop]
    torch.testing.assert_close(own.weight.grad, part)
    own.zero_grad()
    assert own.own_rows().equal(own.weight)
    (own.own_rows() ** 3 + own.own_rows()).sum().mul(world).backward()
    if rank == 0:
        assert not own.weight.grad[0].any()
    first = 1 if rank == 0 else 0
    torch.testing.assert_close(own.weight.grad[first:], part[first:] + 1.0)


def _whole_again(rank: int, world: int, rows: int) -> None:
    whole = _whole(rows)
    own = ShardedEmbedding.from_whole(whole)
    assert own.whole().equal(whole.weight)
    gathered = own.whole(to=world - 1)
    assert gathered.equal(whole.weight) if rank == world - 1 else gathered is None
    torch.manual_seed(rows)
    assert ShardedEmbedding(rows, WIDTH, 0, dtype=torch.float64).weight.equal(own.weight)


def _refusals(rank: int, world: int) -> None:
    own = ShardedEmbedding.from_whole(_whole(11))
    for wrong in (11, -2):
        ids = torch.tensor([1, wrong] if rank == 1 else [3])
        with pytest.raises(ValueError, match=f"0 … 10, got {wrong} on process 1"):
            own(ids)
    assert own(torch.tensor([3])).equal(_whole(11).weight[3:4])  # they go on together
    with pytest.raises(ValueError, match=r"holds .* rows of the table, got 1"):
        as_dtensor(torch.zeros(1, WIDTH), own.shards)


def _state(rows: int) -> dict[str, Tensor]:
    """Return the weight and the moments of the shard of this process, as parts of the whole."""
    own = ShardedEmbedding.from_whole(_whole(rows))
    count = torch.arange(rows, dtype=torch.int64)[own.shards.start : own.shards.stop]
    return {f"weight{rows}": own.as_dtensor(), f"last{rows}": as_dtensor(count.clone(), own.shards)}


def _save(rank: int, world: int, folder: str) -> None:
    for rows in ROWS:
        checkpoint.save(_state(rows), checkpoint_id=f"{folder}/{world}/{rows}")


def _load(rank: int, world: int, folder: str, saved_by: int) -> None:
    for rows in ROWS:
        state = {name: entry * 0 for name, entry in _state(rows).items()}
        own = ShardedEmbedding(rows, WIDTH, 0, dtype=torch.float64)
        state[f"weight{rows}"] = own.as_dtensor()
        checkpoint.load(state, checkpoint_id=f"{folder}/{saved_by}/{rows}")
        part = slice(own.shards.start, own.shards.stop)
        assert own.weight.equal(_whole(rows).weight[part])  # in place
        assert state[f"last{rows}"].to_local().equal(torch.arange(rows)[part])


def _on(rank: int, world: int, folder: str) -> None:
    for rows in ROWS:
        for sparse in (False, True):
            _looked_up(rank, world, rows, sparse)
        _all_rows(rank, world, rows)
        _whole_again(rank, world, rows)
    _refusals(rank, world)
    _save(rank, world, folder)
    distributed.barrier()
    if world == 4:
        _load(rank, world, folder, saved_by=2)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_processes_equal_one(tmp_path: Path) -> None:
    for world in (2, 4):  # the second loads what the first has saved
        run_distributed(_on, world, str(tmp_path))
    for world in (2, 4):
        for rows in ROWS:
            weight = torch.zeros(rows, WIDTH, dtype=torch.float64)
            state = {f"weight{rows}": weight, f"last{rows}": torch.zeros(rows, dtype=torch.int64)}
            checkpoint.load(state, checkpoint_id=str(tmp_path / f"{world}/{rows}"), no_dist=True)
            assert weight.equal(_whole(rows).weight)
            assert state[f"last{rows}"].equal(torch.arange(rows))


@pytest.mark.parametrize("sparse", [False, True])
def test_one_process_is_an_ordinary_embedding(sparse: bool) -> None:
    whole = _whole(11, sparse)
    own = ShardedEmbedding.from_whole(whole)
    for embedding in (whole, own):
        _loss(embedding(_ids(11, 0)), 0).backward()
    assert own.weight.grad.is_sparse is sparse
    assert own.weight.grad.to_dense().equal(whole.weight.grad.to_dense())
    assert own.own_rows().equal(whole.weight)
    assert own.own_items().equal(whole.weight[1:])
    assert own.whole().equal(whole.weight)
    for wrong in (11, -1):
        with pytest.raises(ValueError, match=f"0 … 10, got {wrong}"):
            own(torch.tensor([[2, wrong]]))


@pytest.mark.parametrize("most_drawn", [10**9, 0])
@pytest.mark.parametrize("fill", [Tensor.normal_, lambda rows: nn.init.trunc_normal_(rows, std=0.2)])
def test_initial_values_are_the_same_for_every_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, most_drawn: int, fill
) -> None:
    monkeypatch.setattr("lightning_croloss.sharding.drawing.BLOCK", 16 * 3 * 5)
    for rows in (300, 333, 3):
        drawn, after = {}, set()
        for world in (1, 2, 3):
            parts = []
            for rank in range(world):
                shards = RowShards(rows, world, rank)
                parts.append(torch.zeros(shards.num_own, 3))
                torch.manual_seed(5)
                draw_rows(parts[-1], shards, fill, 1, most_drawn)
                after.add(float(torch.rand(())))
            drawn[world] = torch.cat(parts)
        assert len(after) == 1
        assert drawn[1].equal(drawn[2])
        assert drawn[1].equal(drawn[3])
        assert not drawn[1][0].any()
        assert len(drawn[1][1:].unique()) == 3 * (rows - 1)
        if most_drawn:
            torch.manual_seed(5)
            whole = torch.empty(rows - 1, 3)
            fill(whole)
            assert drawn[1][1:].equal(whole)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="num_embeddings is 5, but shards are of 6 rows"):
        ShardedEmbedding(5, 2, shards=RowShards(6))
    with pytest.raises(ValueError, match=r"padding_idx must be in 0 … 4, got 5"):
        ShardedEmbedding(5, 2, 5)


def test_items_are_the_rows_but_padding() -> None:
    for rows in range(2, 12):
        for world in range(1, rows + 1):
            shards = [RowShards(rows, world, rank) for rank in range(world)]
            assert [row for shard in shards for row in shard.own_items] == list(range(1, rows))
