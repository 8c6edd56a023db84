"""across_processes: sampled and in-batch negatives as in one process, however many rows each process has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from lightning_croloss.losses import BCELoss, CROLoss, RetrievalLoss, SoftmaxLoss
from tests.distributed import run_distributed

COUNTS = (3, 1, 0)
ROWS, ITEMS, WIDTH = sum(COUNTS), 7, 3
Call = Callable[[RetrievalLoss, slice, Tensor], Tensor]


def _batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    return {
        "users": normal(ROWS, WIDTH),
        "positives": normal(ROWS, WIDTH),
        "candidates": normal(ITEMS, WIDTH),
        "sample_weight": normal(ROWS).abs(),
        "logits": normal(ROWS, ITEMS),
    }


def _calls(batch: dict[str, Tensor]) -> dict[str, Call]:
    """Return calls of a loss for some of the rows; the tensor is that whose gradient is compared."""

    def sampled(loss: RetrievalLoss, part: slice, users: Tensor, **given: Any) -> Tensor:
        return loss.from_embeddings(users, batch["positives"][part], batch["candidates"], **given)

    def logits(loss: RetrievalLoss, part: slice, users: Tensor, ignored: int = -100) -> Tensor:
        labels = torch.tensor([1, 0, ignored, 2])[part]
        return loss.from_logits(users @ batch["candidates"].T, labels)

    def positions(loss: RetrievalLoss, part: slice, users: Tensor) -> Tensor:
        ids = torch.tensor([[1, 2], [0, 3], [1, 0], [4, 5]])[part]
        both = torch.stack([users, users * 2], dim=1)
        return loss.from_embeddings(
            both, both * 0.5, batch["candidates"], target_ids=ids, candidate_ids=torch.arange(1, ITEMS + 1)
        )

    return {
        "sampled": sampled,
        "weighted": lambda loss, part, users: sampled(
            loss, part, users, sample_weight=batch["sample_weight"][part]
        ),
        "scores": lambda loss, part, users: loss(users[:, 0], users @ batch["candidates"].T),
        "logits": lambda loss, part, users: logits(loss, part, users, 5),
        "ignored": logits,
        "positions": positions,
        "in batch": lambda loss, part, users: loss.in_batch(
            users, batch["positives"][part], gather_across_devices=True
        ),
        "symmetric": lambda loss, part, users: loss.in_batch(
            users, batch["positives"][part], symmetric=True, gather_across_devices=True
        ),
    }


def _losses() -> dict[str, Callable[[], RetrievalLoss]]:
    return {
        "fused": lambda: CROLoss(num_items=30, fused=True),
        "naive": lambda: SoftmaxLoss(num_items=30, fused=False),
        "sum": lambda: SoftmaxLoss(num_items=30, fused=True, reduction="sum"),
        "naive sum": lambda: BCELoss(num_items=30, reduction="sum"),
    }


def _compare(rank: int, world: int, expected: dict[tuple[str, str], tuple[float, Tensor]]) -> None:
    batch, first = _batch(), sum(COUNTS[:rank])
    part = slice(first, first + COUNTS[rank])
    for (call, loss), (value, gradient) in expected.items():
        users = batch["users"][part].clone().requires_grad_()
        made = _losses()[loss]()
        made.across_processes = True
        found = _calls(batch)[call](made, part, users)
        found.backward()
        total = found.detach().clone()
        distributed.all_reduce(total)
        assert users.grad is not None
        torch.testing.assert_close(float(total) / world, value, msg=lambda text: f"{call} {loss} {text}")  # noqa: B023
        torch.testing.assert_close(users.grad / world, gradient[part])


@pytest.mark.filterwarnings("ignore")
def test_processes_equal_one() -> None:
    batch, expected = _batch(), {}
    for call in _calls(batch):
        for loss, make in _losses().items():
            users = batch["users"].clone().requires_grad_()
            value = _calls(batch)[call](make(), slice(None), users)
            value.backward()
            assert users.grad is not None
            expected[call, loss] = float(value.detach()), users.grad
    run_distributed(_compare, len(COUNTS), expected)


@pytest.mark.filterwarnings("ignore")
def test_without_processes_nothing_changes() -> None:
    batch = _batch()
    for call in _calls(batch).values():
        for make in _losses().values():
            loss, same = make(), make()
            loss.across_processes = True
            assert call(loss, slice(None), batch["users"]).equal(call(same, slice(None), batch["users"]))
