"""Tables that are made later have the rows that they would have had at once, and disturb nothing after."""

from __future__ import annotations

import pytest
import torch

from lightning_croloss.models.layers import id_embeddings
from lightning_croloss.sharding import drawing
from lightning_croloss.sharding.deferred import DeferredEmbedding, deferred_tables
from lightning_croloss.sharding.row_shards import RowShards
from tests.living_tensors import LivingTensors


def drawn(deferred: bool) -> tuple[list[torch.nn.Embedding], torch.Tensor]:
    torch.manual_seed(5)
    if not deferred:
        return id_embeddings(100, 37, dim=6), torch.randn(3)
    with deferred_tables():
        return id_embeddings(100, 37, dim=6), torch.randn(3)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_the_rows_are_those_of_tables_made_at_once(processes: int) -> None:
    whole, after = drawn(deferred=False)
    later, other = drawn(deferred=True)
    assert torch.equal(after, other)
    state = torch.get_rng_state()
    for table, deferred in zip(whole, later, strict=True):
        assert isinstance(deferred, DeferredEmbedding)
        assert deferred.weight.is_meta
        deferred.sparse = True
        parts = [deferred.made(RowShards(len(table.weight), processes, rank)) for rank in range(processes)]
        assert torch.equal(torch.cat([part.weight for part in parts]), table.weight)
        assert all(part.sparse and part.padding_idx == 0 for part in parts)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_converted_model_is_drawn_as_before_it_was_converted() -> None:
    whole, later = drawn(deferred=False)[0][0], drawn(deferred=True)[0][0]
    assert isinstance(later, DeferredEmbedding)
    made = later.double().made(RowShards(101))  # type: ignore[attr-defined]
    assert torch.equal(made.weight, whole.weight.double())


def test_it_has_no_memory_wherever_it_is_moved() -> None:
    later = drawn(deferred=True)[0][0]
    assert later.cpu().weight.is_meta
    assert later.to("cpu", torch.float64).weight.dtype == torch.float64
    assert torch.nn.Sequential(later).to_empty(device="cpu")[0].weight.is_meta


def test_a_large_table_takes_neither_memory_nor_time() -> None:
    """10⁹ rows; what a process makes of them is the same whatever the others have."""
    with deferred_tables():
        torch.manual_seed(5)
        large = id_embeddings(10**9, dim=64)[0]
        after = torch.randn(1)
    assert isinstance(large, DeferredEmbedding)
    torch.manual_seed(5)
    torch.randint(2**62, ())
    torch.randint(2**62, ())
    assert torch.equal(torch.randn(1), after)  # one number for each of two passes over the table
    few = large.made(RowShards(10**9 + 1, 10**7, 7)).weight.detach()
    block = drawing.BLOCK // 64 // 16 * 16
    assert len(few) == 101
    assert few.std() == pytest.approx(1 / 8, rel=0.1)
    again = large.made(RowShards(10**9 + 1, 2 * 10**6, 1)).weight.detach()
    first = 7 * 101 - 501
    assert block > 7 * 101
    assert torch.equal(again[first : first + 101], few)


def test_tables_whose_rows_are_read_take_no_random_numbers() -> None:
    before = torch.get_rng_state()
    with LivingTensors() as watched, deferred_tables(drawn=False):
        (table,) = id_embeddings(10**6, dim=64)
    assert torch.equal(torch.get_rng_state(), before)
    assert watched.most_bytes < 2**20  # the state of the generator
    assert isinstance(table, DeferredEmbedding)
    own = table.described(RowShards(10**6 + 1, 3, 2))
    assert own.weight.is_meta
    assert own.weight.shape == (333_333, 64)
