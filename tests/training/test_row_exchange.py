"""Sparse gradients exchanged row by row: equal to what gloo adds up itself, in two processes started once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from lightning_croloss import InBatchNegatives, MatrixFactorization, TwoTower, UniformNegatives, YouTubeDNN
from lightning_croloss.training import LazyAdam, row_exchange
from tests.data_for_tests import FeaturedData, fit, quiet_trainer
from tests.distributed import be_process, run_distributed
from tests.models.cases import FEATURES

ADAM = functools.partial(torch.optim.Adam, lr=0.01)
#: What a run may have: arguments of the model, and those of the trainer.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "accumulating": ({}, {"accumulate_grad_batches": 2}),
    "clipped": ({}, {"gradient_clip_val": 0.05}),
    "clipped by value, bfloat16": (
        {},
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value", "precision": "bf16-mixed"},
    ),
    "in-batch": ({"negatives": InBatchNegatives()}, {}),
    "users": ({"cls": TwoTower, **FEATURES, "use_user_id": True}, {}),
}
#: The gradients of three weights in each of two processes: rows, or what else there may be.
CASES: dict[str, list[Any]] = {
    "different rows": [[[1, 4, 1], [4, 2]], [[], [0, 0]], [[5], [5]]],
    "no rows in one process": [[[], [3]], [[2, 2], []], [[], []]],
    "no gradient in one process, or in any": [[None, [3]], [None, None], [[0], None]],
    "dense in one process": [["dense", [3]], [[1], "dense"], ["dense", None]],
}

pytestmark = pytest.mark.slow


def build(arguments: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    given = {"cls": YouTubeDNN, "num_items": 40, "embedding_dim": 8, "ns": (5, 10), **arguments}
    settings = {"negatives": UniformNegatives(30), "sparse_gradients": True, "optimizer": ADAM, **given}
    return settings.pop("cls")(**settings)


def gradient_of(kind: Any, rank: int) -> torch.Tensor | None:
    generator = torch.Generator().manual_seed(rank)
    if kind is None:
        return None
    if kind == "dense":
        return torch.randn(6, 3, generator=generator, dtype=torch.float64)
    values = torch.randn(len(kind), 3, generator=generator, dtype=torch.float64)
    return torch.sparse_coo_tensor(
        torch.tensor([kind], dtype=torch.long), values, (6, 3), check_invariants=False
    )


def averaged(rank: int, case: list[Any]) -> list[Any]:
    weights = [nn.Parameter(torch.zeros(6, 3, dtype=torch.float64)) for _ in case]
    for weight, kinds in zip(weights, case, strict=True):
        weight.grad = gradient_of(kinds[rank], rank)
    row_exchange.average_rows(weights)
    kept = [weight.grad for weight in weights]
    for kinds, grad in zip(case, kept, strict=True):
        if all(kind not in (None, "dense") for kind in kinds):
            assert torch.equal(
                row_exchange.mean_gradient(gradient_of(kinds[rank], rank)).to_dense(), grad.to_dense()
            )
    return [None if grad is None else (grad.is_sparse, grad.to_dense().numpy()) for grad in kept]


def trained(rank: int, folder: Path, arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Train, whether rows are exchanged or not; return the weights, and whether DDP left tables alone."""
    model = build(arguments)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(rank)  # the first process's are what counts
    ddp = DDPStrategy()
    left: list[str] = []
    model.on_train_batch_start = lambda batch, batch_idx: (
        left.extend(ddp.model.parameters_to_ignore),
        type(model).on_train_batch_start(model, batch, batch_idx),
    )[0]
    trainer = fit(model, FeaturedData(seed=0), strategy=ddp, devices=2, **options)
    assert isinstance(trainer.optimizers[0], LazyAdam)
    return {
        "weights": {name: value.numpy() for name, value in model.state_dict().items()},
        "ignored": sorted(set(left)),
        "afterwards": list(getattr(model, "_ddp_params_and_buffers_to_ignore", ())),
    }


def in_one_of_two_processes(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    be_process(rank, world_size)
    found: dict[str, Any] = {"cases": {name: averaged(rank, case) for name, case in CASES.items()}}
    for name, (arguments, options) in RUNS.items():
        for exchanged in (False, True):
            row_exchange.ON_CPU = exchanged
            found[name, exchanged] = trained(rank, Path(folder), arguments, max_epochs=2, **options)
    model = build({})
    trainer = fit(model, FeaturedData(seed=0), strategy="ddp", devices=2, max_epochs=1)
    trainer.save_checkpoint(Path(folder, "one.ckpt"))
    found["resumed"] = trained(rank, Path(folder), {}, max_epochs=2, ckpt_path=Path(folder, "one.ckpt"))
    only_tables = build({"cls": MatrixFactorization, "num_users": 60})
    trainer = quiet_trainer(strategy="ddp", devices=2)
    found["only tables"] = row_exchange.RowExchange.of(only_tables, only_tables.id_embeddings(), trainer)
    return found


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_distributed(in_one_of_two_processes, 2, str(tmp_path_factory.mktemp("runs")))


@pytest.mark.parametrize("name", CASES)
def test_the_mean_is_that_of_whole_tables(processes: list[dict[str, Any]], name: str) -> None:
    for number, kinds in enumerate(CASES[name]):
        one, other = (process["cases"][name][number] for process in processes)
        gradients = [gradient_of(kind, rank) for rank, kind in enumerate(kinds)]
        given = [gradient.to_dense() for gradient in gradients if gradient is not None]
        if not given:
            assert one is None
            assert other is None
            continue
        expected = torch.stack(given).sum(0) / 2
        assert one[0] == other[0] == ("dense" not in kinds)
        assert (one[1] == other[1]).all()
        torch.testing.assert_close(torch.from_numpy(one[1]), expected)


@pytest.mark.parametrize("name", RUNS)
def test_training_is_that_of_the_sums_of_gloo(processes: list[dict[str, Any]], name: str) -> None:
    own, exchanged = processes[0][name, False], processes[0][name, True]
    assert own["ignored"] == []
    assert "item_embedding.weight" in exchanged["ignored"]
    assert ("user_embedding.weight" in exchanged["ignored"]) == (name == "users")
    assert exchanged["afterwards"] == []
    fresh = build(RUNS[name][0]).state_dict()
    for key, value in exchanged["weights"].items():
        other, summed = processes[1][name, True]["weights"][key], own["weights"][key]
        np.testing.assert_array_equal(value, other, err_msg=key)  # features that are missing are NaN
        np.testing.assert_allclose(value, summed, atol=1e-6, rtol=1e-5, err_msg=key)
    assert not torch.equal(
        torch.from_numpy(exchanged["weights"]["item_embedding.weight"]), fresh["item_embedding.weight"]
    )


def test_accumulation_and_clipping_have_an_effect(processes: list[dict[str, Any]]) -> None:
    tables = [
        processes[0][name, True]["weights"]["item_embedding.weight"]
        for name in ("plain", "accumulating", "clipped")
    ]
    assert not (tables[0] == tables[1]).all()
    assert not (tables[0] == tables[2]).all()


def test_a_resumed_run_equals_the_uninterrupted_one(processes: list[dict[str, Any]]) -> None:
    for process in processes:
        whole, resumed = process["plain", True]["weights"], process["resumed"]["weights"]
        assert all((value == resumed[key]).all() for key, value in whole.items())


def test_ddp_keeps_what_it_would_have_nothing_besides(processes: list[dict[str, Any]]) -> None:
    assert processes[0]["only tables"] is None


def test_nothing_is_exchanged_in_one_process_or_on_cpus() -> None:
    model = build({})
    assert row_exchange.RowExchange.of(model, model.id_embeddings(), quiet_trainer()) is None
