"""The loss over shards equals that of one process with all rows and items, in value and gradient.

All cases of a number of processes run in one start of them, which takes longer than they do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.losses import CROLoss, RetrievalLoss, SLAtKLoss, SoftmaxLoss
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.sharding.row_shards import RowShards
from tests.distributed import run_distributed
from tests.losses.cases import FUSED, IMPORTANCES, LOSSES, TRAINABLE, other_kernel

#: Items of the catalogue: among four processes the last of 5 rows has none, and of 12 and 27 fewer.
SIZES = (4, 11, 26)
WIDTH = 3
#: Rows of each of up to four processes.
ROWS = ((2, 3, 0, 1), (0, 4, 1, 2))


class Case:
    """A batch of all processes, with every option that is asked for."""

    def __init__(self, world: int, items: int, rows: tuple[int, ...], *options: str, shape: str = "") -> None:
        generator = torch.Generator().manual_seed(items + 100 * sum(rows) + len(options))

        def normal(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator, dtype=torch.float64)

        self.counts = rows[:world]
        self.items, number = items, sum(self.counts)
        self.table = normal(items + 1, WIDTH) * 0.4
        of_users = (number, 2) if shape == "positions" else (number,)
        of_positives = (number,) if shape == "" else (number, 2)
        self.batch: dict[str, Any] = {
            "users": normal(*of_users, WIDTH) * 0.6,
            "target_ids": torch.randint(1, items + 1, of_positives, generator=generator),
        }
        if shape and number:
            self.batch["target_ids"][0, 0] = 0
        self.batch["positives"] = self.table[self.batch["target_ids"]] + 0.1 * normal(*of_positives, WIDTH)
        if "excluded" in options or "lists" in options:
            excluded = torch.randint(0, items + 1, (number, 3), generator=generator)
            self.batch["excluded_ids"] = ItemLists.of_padded(excluded) if "lists" in options else excluded
        if "weighted" in options:
            self.batch["sample_weight"] = torch.rand(number, generator=generator, dtype=torch.float64)
        if "users" in options:
            self.batch["user_ids"] = torch.randint(0, 5, (number,), generator=generator)
        self.log_prob = None
        if "log_prob" in options:
            share = torch.rand(items, generator=generator, dtype=torch.float64) + 0.1
            self.log_prob = (share / share.sum()).log()

    def part(self, rank: int) -> slice:
        first = sum(self.counts[:rank])
        return slice(first, first + self.counts[rank])

    def arguments(self, part: slice) -> dict[str, Any]:
        chosen = {name: value[part] for name, value in self.batch.items()}
        for name in ("users", "positives"):
            chosen[name] = chosen[name].clone().requires_grad_()
        return chosen

    def whole(self, loss: RetrievalLoss) -> tuple[Tensor, dict[str, Tensor]]:
        """Return value and gradients of one process."""
        given, table = self.arguments(slice(None)), self.table[1:].clone().requires_grad_()
        value = loss.from_embeddings(
            **given,
            candidates=table,
            candidate_ids=torch.arange(1, self.items + 1),
            candidate_log_prob=self.log_prob,
        )
        return value.detach(), _gradients(loss, value, given, table)

    def shard(
        self, loss: RetrievalLoss, shards: RowShards, scale: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return value and gradients of this process."""
        given = self.arguments(self.part(shards.rank))
        own = shards.own_items
        table = self.table[own.start : own.stop].clone().requires_grad_()
        log_prob = None if self.log_prob is None else self.log_prob[own.start - 1 : own.stop - 1]
        value = loss.from_sharded_embeddings(
            **given, candidates=table, shards=shards, candidate_log_prob=log_prob
        )
        return value.detach(), _gradients(loss, value, given, table, scale)


def _gradients(
    loss: RetrievalLoss, value: Tensor, given: dict[str, Any], table: Tensor, scale: float = 1.0
) -> dict[str, Tensor]:
    learned = loss.raw_temperature
    if learned is not None:
        learned.grad = None
    (value.sum() * scale).backward()
    found = {"users": given["users"].grad, "positives": given["positives"].grad, "items": table.grad}
    return found if learned is None else found | {"temperature": learned.grad.double().clone()}


def assert_equal_to_one_process(
    rank: int, world: int, case: Case, make: Callable[[], RetrievalLoss], name: str
) -> None:
    """Compare the mean over the processes with one process."""
    first, second = make(), make()
    value, gradients = case.whole(first)
    shards = RowShards(case.items + 1, world, rank)
    own_value, own = case.shard(second, shards)
    part, items = case.part(rank), shards.own_items
    expected = {
        "users": gradients["users"][part],
        "positives": gradients["positives"][part],
        "items": gradients["items"][items.start - 1 : items.stop - 1],
    }
    mean = 1 if first.reduction == "none" else world
    for key, wanted in expected.items():
        torch.testing.assert_close(
            own[key] / mean, wanted, rtol=1e-9, atol=1e-12, msg=lambda text, key=key: f"{name} {key} {text}"
        )
    if first.reduction == "none":
        torch.testing.assert_close(own_value, value[part], rtol=1e-9, atol=1e-12)
    else:
        distributed.all_reduce(own_value)
        torch.testing.assert_close(
            own_value / world, value, rtol=1e-9, atol=1e-12, msg=lambda text: f"{name} {text}"
        )
    if "temperature" in own:
        distributed.all_reduce(own["temperature"])
        torch.testing.assert_close(own["temperature"] / mean, gradients["temperature"], rtol=1e-5, atol=1e-7)
    assert first.diagnostics.keys() == second.diagnostics.keys(), name
    for key, wanted in first.diagnostics.items():
        torch.testing.assert_close(second.diagnostics[key], wanted, rtol=1e-9, atol=1e-12)


def grid(world: int) -> Iterator[tuple[str, Callable[[], RetrievalLoss], Case]]:
    """Yield every kernel × importance; over two and four processes every kernel meets every combination of
    Lambda method, logQ, exclusions and path."""
    combinations = list(
        itertools.product(
            (0.0, 0.6),
            ((), ("log_prob",)),
            (
                (),
                ("excluded", "weighted"),
            ),
            (True, False),
        )
    )
    pairs = itertools.product(enumerate(TRAINABLE), enumerate(IMPORTANCES))
    for (row, kernel), (column, importance) in pairs:
        number = row + column + (8 if world == 4 else 0)
        weight, log_prob, excluded, fused = combinations[number % len(combinations)]
        scaling = ("reference", "unbiased")[(row + column // 2) % 2]

        def make(
            kernel: str = kernel,
            importance: str = importance,
            weight: float = weight,
            scaling: str = scaling,
            fused: bool = fused,
        ) -> RetrievalLoss:
            return CROLoss(
                TRAINABLE[kernel](),
                IMPORTANCES[importance](),
                0.3,
                weight,
                other_kernel(TRAINABLE[kernel]().name),
                num_items=30,  # not as many as the table has, so that the scaling counts
                rank_scaling=scaling,
                fused=fused,
            )

        options = (*log_prob, *excluded)
        name = f"{kernel}, {importance}, {weight}, {options}, {scaling}, fused={fused}"
        yield name, make, Case(world, SIZES[number % 3], ROWS[number // 2 % 2], *options)


def others(world: int) -> Iterator[tuple[str, Callable[[], RetrievalLoss], Case]]:
    """Yield every loss, reduction, shape of rows, and what else is not a kernel or an importance."""
    shapes, reductions = (
        itertools.cycle(("", "positions", "positives")),
        itertools.cycle(("sum", "none", "mean")),
    )
    for name, cls in LOSSES.items():
        reduction, shape = next(reductions), next(shapes)
        options = ("lists", "weighted") if name.startswith("SLAtK") else ("log_prob", "lists", "weighted")
        for fused in (True, False) if name in FUSED else (None,):

            def make(
                cls: Callable[..., RetrievalLoss] = cls,
                reduction: str = reduction,
                fused: bool | None = fused,
            ) -> RetrievalLoss:
                path = {} if fused is None else {"fused": fused}
                return cls(num_items=30, reduction=reduction, learnable_temperature=True, **path)

            case = Case(world, 26, ROWS[0], *options, shape=shape)
            yield f"{name}, {reduction}, {shape}, fused={fused}", make, case
        next(shapes)

    def kept() -> RetrievalLoss:
        return SLAtKLoss(k=3, refresh_epochs=2)

    yield "thresholds of users", kept, Case(world, 11, ROWS[1], "users", "excluded")
    yield "nothing to compare", SoftmaxLoss, Case(world, world - 1, ROWS[0], "excluded")
    yield "no rows", CROLoss, Case(world, 11, (0,) * world)


def _cases(rank: int, world: int) -> None:
    for name, make, case in itertools.chain(grid(world), others(world)):
        assert_equal_to_one_process(rank, world, case, make, name)
    _scaled_apart(rank, world)
    _refusals(rank, world)


def _scaled_apart(rank: int, world: int) -> None:
    """Each process multiplies its own loss: the gradient of the items is of the sum of these."""
    case, shards = Case(world, 26, ROWS[0]), RowShards(27, world, rank)
    scales = [1.0 + process for process in range(world)]
    _, own = case.shard(CROLoss(fused=True), shards, scales[rank])
    _, naive = case.shard(CROLoss(fused=False), shards, scales[rank])
    _, same = case.shard(CROLoss(fused=True), shards)
    for key, wanted in naive.items():
        torch.testing.assert_close(own[key], wanted, rtol=1e-9, atol=1e-12)
    if sum(case.counts[1:]) and len(shards.own_items):
        assert not torch.allclose(own["items"], same["items"])


def _refusals(rank: int, world: int) -> None:
    """What is wrong on one process is refused on all of them."""
    case, shards = Case(world, 26, (2,) * world, "excluded"), RowShards(27, world, rank)

    def refused(text: str, *, by: int = 1, **wrong: Tensor) -> None:
        given = case.arguments(case.part(rank))
        table = case.table[shards.own_items.start : shards.own_items.stop]
        expected = text if rank == by else f"process {by} refused its arguments"
        with pytest.raises(ValueError, match=expected):
            CROLoss().from_sharded_embeddings(
                **{**given, "candidates": table, **(wrong if rank == by else {})}, shards=shards
            )

    refused("target_ids holds 27, but items are 1 … 26", target_ids=torch.tensor([1, 27]))
    refused("excluded_ids holds -3", by=0, excluded_ids=torch.tensor([[1], [-3]]))
    refused("users and positives must be", users=torch.zeros(2, 5))
    refused("vectors of this process's", candidates=case.table)
    refused("a target is an item", target_ids=torch.tensor([1, 0]))
    refused("sample_weight must hold finite", sample_weight=torch.tensor([1.0, -1.0]))
    refused("sample_weight gets no gradient", sample_weight=torch.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="shards must be as many as there are processes"):
        case.shard(CROLoss(), RowShards(27, world + 1, rank))
    with pytest.raises(ValueError, match="a top-k threshold over shards"):
        Case(world, 26, (2,) * world, "log_prob").shard(SLAtKLoss(num_items=26), shards)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("world", [2, 4])
def test_shards_equal_one_process(world: int) -> None:
    run_distributed(_cases, world)


@pytest.mark.parametrize("fused", [True, False])
def test_one_shard_is_the_ordinary_loss(fused: bool) -> None:
    case = Case(1, 26, (5,), "excluded", "weighted")
    assert_equal_to_one_process_alone(case, lambda: CROLoss(fused=fused, learnable_temperature=True))


def assert_equal_to_one_process_alone(case: Case, make: Callable[[], RetrievalLoss]) -> None:
    value, gradients = case.whole(make())
    own_value, own = case.shard(make(), RowShards(case.items + 1))
    torch.testing.assert_close(own_value, value)
    for key, wanted in gradients.items():
        torch.testing.assert_close(own[key], wanted)


class LooksAtEach(SoftmaxLoss):
    """Takes more of its negatives than sums."""

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        return batch.difference.amax(1)


class Renamed(CROLoss):
    """Takes what CROLoss takes."""


def test_a_loss_that_needs_more_than_sums_is_refused_at_once() -> None:
    assert all(make().supports_shards for make in LOSSES.values())
    assert Renamed().supports_shards
    assert not LooksAtEach().supports_shards
    with pytest.raises(ValueError, match="LooksAtEach cannot be computed over a catalogue in shards"):
        Case(1, 26, (5,)).shard(LooksAtEach(), RowShards(27))
