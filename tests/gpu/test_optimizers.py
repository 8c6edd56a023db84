"""LazyAdam with sparse gradients, the schedules of the callback, and the guard against NaN on the device."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from lightning_croloss import CROLoss, CROLossCallback, TargetNImportance
from lightning_croloss.errors import NonFiniteLossError
from lightning_croloss.schedules import Geometric, Linear
from lightning_croloss.training.lazy_adam import LazyAdam
from tests.gpu.architectures import Steps, build, train
from tests.gpu.device import DEVICE, is_on_device, sized

pytestmark = pytest.mark.gpu

ROWS, WIDTH, TOUCHED = sized(5000, 60), 8, sized(700, 20)


def steps(optimizer: Any, embedding: nn.Embedding, count: int = 6) -> None:
    """Train on ids drawn on the CPU, some of them twice in a step."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        ids = torch.randint(0, ROWS, (TOUCHED,), generator=generator)
        wanted = torch.randn(TOUCHED, WIDTH, generator=generator, dtype=torch.float64)
        device, dtype = embedding.weight.device, embedding.weight.dtype
        optimizer.zero_grad()
        (embedding(ids.to(device)) * wanted.to(device, dtype)).sum().backward()
        optimizer.step()


def table(dtype: torch.dtype, device: str) -> nn.Embedding:
    torch.manual_seed(0)
    start = torch.randn(ROWS, WIDTH, dtype=torch.float64)
    return nn.Embedding(ROWS, WIDTH, sparse=True, _weight=start.to(device, dtype))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lazy_adam_steps_like_on_the_cpu(weight_decay: float) -> None:
    here, there = table(torch.float32, DEVICE), table(torch.float64, "cpu")
    for embedding in (here, there):
        steps(LazyAdam(embedding.parameters(), lr=0.01, weight_decay=weight_decay), embedding)
    torch.testing.assert_close(here.weight.cpu().double(), there.weight, rtol=1e-4, atol=1e-5)


def test_lazy_adam_moves_only_the_rows_at_hand() -> None:
    embedding = table(torch.float32, DEVICE)
    before = embedding.weight.detach().clone()
    optimizer = LazyAdam(embedding.parameters(), lr=0.01)
    embedding(torch.tensor([3, 5, 3], device=DEVICE)).sum().backward()
    optimizer.step()
    moved = (embedding.weight != before).any(1).nonzero().squeeze(1)
    assert moved.tolist() == [3, 5]
    assert is_on_device(optimizer.state[embedding.weight]["exp_avg"])


def test_sparse_gradients_train_like_dense_ones() -> None:
    options = {"limit_train_batches": 3, "limit_val_batches": 0, "num_sanity_val_steps": 0}
    found, kinds = [], []
    for sparse in (True, False):
        steps = Steps()
        model = build("YouTubeDNN, sparse", sparse_gradients=sparse)
        kinds.append(type(train(model, callbacks=[steps], **options).optimizers[0]))
        found.append(steps.losses)
    assert kinds == [LazyAdam, torch.optim.Adam]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0] == pytest.approx(found[1], rel=0.02)  # they differ in rows that rest


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_sparse_gradients_are_clipped(algorithm: str) -> None:
    model = build("YouTubeDNN, sparse", optimizer=functools.partial(LazyAdam, lr=0.01))
    trainer = train(
        model,
        limit_train_batches=3,
        limit_val_batches=0,
        gradient_clip_val=1e-3,
        gradient_clip_algorithm=algorithm,
    )
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


class Values(Callback):
    """Keeps what the loss goes by at each step, and what it comes to with the step's own values."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.seen.append({name: float(value) for name, value in pl_module.loss.schedulable().items()})


def test_schedules_reach_the_loss() -> None:
    loss, values = CROLoss("softplus", TargetNImportance(30.0)), Values()
    schedules = CROLossCallback(
        n=Geometric(30.0, 5.0, until=4), temperature=Linear(0.4, 0.1, until=4), lambda_weight=0.5
    )
    trainer = train(
        build("ComiRecDR", loss=loss),
        callbacks=[schedules, values],
        limit_train_batches=5,
        limit_val_batches=0,
    )
    assert [row["temperature"] for row in values.seen] == pytest.approx([0.4, 0.325, 0.25, 0.175, 0.1])
    assert values.seen[0]["n"] == pytest.approx(30.0)
    assert values.seen[-1]["n"] == pytest.approx(5.0)
    assert {row["lambda_weight"] for row in values.seen} == {0.5}
    assert trainer.callback_metrics["train/soft_rank"] > 0.0


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    model = build("ComiRecDR")
    with torch.no_grad():
        model.item_embedding.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match="lower the learning rate"):
        train(model, limit_train_batches=2, num_sanity_val_steps=0)
