"""Sparse gradients added up without asking how many rows there are: equal to coalescing them."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.sharding.padded import PaddedEmbedding, rows_without_padding
from lightning_croloss.training import LazyAdam
from lightning_croloss.training.row_sums import RowSums
from lightning_croloss.training.sparse_gradients import clip_gradients
from tests.training.cases import parameters, rows_of_steps, sparse


@pytest.fixture
def of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gradients on the CPU be added up as those of an accelerator."""

    def of(gradient: Tensor) -> RowSums:
        return RowSums._of_entries(gradient._indices()[0], gradient._values())

    monkeypatch.setattr(RowSums, "of", of)


@settings(max_examples=100, derandomize=True)
@given(rows=st.lists(st.integers(0, 6), max_size=12), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_every_entry_has_the_sum_of_its_row(rows: list[int], dtype: torch.dtype) -> None:
    values = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    gradient = torch.sparse_coo_tensor(
        torch.tensor([rows], dtype=torch.long), values, (7, 3), check_invariants=False
    )
    found = RowSums._of_entries(gradient._indices()[0], gradient._values())
    assert found.rows.tolist() == sorted(rows)
    expected = gradient.coalesce().to_dense()
    assert torch.equal(found.values, expected[found.rows])  # to the last bit
    once = found.each_once(gradient)
    assert torch.equal(once.coalesce().to_dense(), expected)
    assert int(once._values().any(1).sum()) == len(set(rows))
    on_cpu = RowSums.of(gradient)
    assert torch.equal(on_cpu.each_once(gradient).to_dense(), expected)
    assert on_cpu.each_once(gradient).is_coalesced()


def test_sums_of_half_precision_are_rounded_once() -> None:
    values = torch.full((300, 1), 0.01, dtype=torch.bfloat16)
    found = RowSums._of_entries(torch.zeros(300, dtype=torch.long), values)
    assert torch.equal(found.values, values.float().sum(0).bfloat16().expand(300, 1))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lazy_adam_makes_the_same_steps(of_entries: None, weight_decay: float) -> None:
    one, other = parameters()
    steps = list(rows_of_steps(12))
    ours = LazyAdam([one], 0.1, weight_decay=weight_decay)
    theirs = LazyAdam([other], 0.1, weight_decay=weight_decay)
    for ids, gradients in steps:
        one.grad, other.grad = sparse(ids, gradients), sparse(ids, gradients).coalesce()
        ours.step()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RowSums, "of", lambda grad: RowSums(grad.indices()[0], grad.values(), None))
            theirs.step()
    assert torch.equal(one, other)
    for name, value in ours.state[one].items():
        assert torch.equal(value, theirs.state[other][name]), name


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_clipping_counts_each_row_once(of_entries: None, algorithm: str) -> None:
    one, other = parameters()
    one.grad = sparse(*next(rows_of_steps(1)))
    other.grad = one.grad.to_dense()
    clip_gradients([one], 0.5, algorithm)
    if algorithm == "norm":
        nn.utils.clip_grad_norm_([other], 0.5)
    else:
        nn.utils.clip_grad_value_([other], 0.5)
    torch.testing.assert_close(one.grad.to_dense(), other.grad)


def test_padding_gets_a_gradient_of_zeros() -> None:
    table = PaddedEmbedding(6, 3)
    with torch.no_grad():
        table.weight[0] = 7.0  # whatever is there
    ids = torch.tensor([[0, 2, 2], [0, 0, 5]])
    rows = rows_without_padding(table.weight, ids)
    assert torch.equal(rows, table(ids))
    factor = torch.arange(18.0).view(2, 3, 3)
    (rows * factor).sum().backward()
    found, table.weight.grad = table.weight.grad, None
    assert found is not None
    (table(ids) * factor).sum().backward()
    assert found.is_sparse
    assert torch.equal(found.to_dense(), table.weight.grad)


@pytest.mark.parametrize("kind", [PaddedEmbedding, ShardedEmbedding])
def test_a_step_of_sparse_rows_needs_no_values(kind: type[nn.Module]) -> None:
    table = kind(6, 3) if kind is PaddedEmbedding else kind(6, 3, 0)
    table.sparse = True
    optimizer = LazyAdam([table.weight], weight_decay=0.1)
    table(torch.tensor([0, 2, 2])).sum().backward()
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    table.to("meta")
    optimizer = LazyAdam([table.weight], weight_decay=0.1)
    optimizer.load_state_dict(state)
    for entry in optimizer.state[table.weight]:
        if entry != "step":
            optimizer.state[table.weight][entry] = optimizer.state[table.weight][entry].to("meta")
    table.weight.grad = None
    table(torch.zeros(4, dtype=torch.long, device="meta")).sum().backward()
    for algorithm in ("value", "norm"):
        clip_gradients([table.weight], 0.5, algorithm)
    optimizer.step()
    assert int(optimizer.state[table.weight]["step"]) == 2
    assert table.weight.grad._nnz() == 4
