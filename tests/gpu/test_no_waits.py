"""A step makes the host wait for no GPU, which PyTorch itself tells; and events that lie there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule

from lightning_croloss import CROLoss, CROLossCallback
from lightning_croloss.data import DataRequest
from lightning_croloss.schedules import Linear
from tests.gpu.architectures import ARCHITECTURES, Steps, build, data, train
from tests.gpu.device import DEVICE, ON_GPU, is_on_device, sized, training_batch

pytestmark = pytest.mark.gpu


@contextmanager
def refusing_to_wait() -> Iterator[None]:
    """Let what waits for a GPU be an error; elsewhere there is none to wait for."""
    if not ON_GPU:
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_does_not_wait(name: str) -> None:
    module = data()
    model = build(name)
    train(model, data=module, limit_train_batches=1, limit_val_batches=0)
    module.setup("fit")
    batch = training_batch(module)
    model.to(DEVICE).train()
    sparse = "sparse" in name
    model._optimization.set_sparse(model.id_embeddings(), sparse)
    optimizer = model.configure_optimizers()

    def step() -> None:
        optimizer.zero_grad()
        model.loss_of(batch).backward()
        model.configure_gradient_clipping(optimizer, 0.5, "norm")
        optimizer.step()

    for _ in range(3):  # the first ones bring what stays there, and look at the scores
        step()
    with refusing_to_wait():
        step()
    assert any(weight.grad is not None and weight.grad.is_sparse for weight in model.parameters()) == sparse


@pytest.mark.parametrize("name", ["YouTubeDNN", "SASRec, all positions", "HSTU, features of events"])
def test_events_on_the_device_give_the_same_losses(name: str) -> None:
    found: list[Any] = []
    for there in (False, True):
        steps = Steps()
        train(
            build(name),
            data=data(events_on_device=there),
            callbacks=[steps],
            limit_train_batches=5,
            limit_val_batches=0,
        )
        found.append(steps.losses)
    assert found[0] == found[1]


def test_batches_of_events_on_the_device_are_there() -> None:
    module = data(events_on_device=True)
    train(build("YouTubeDNN"), data=module, limit_train_batches=1, limit_val_batches=0)
    module.prepare_for(DataRequest(all_positions=True))
    for here, batch in zip(data_of_the_host(), module.train_dataloader(), strict=True):
        assert is_on_device(batch.history)
        assert torch.equal(batch.history.cpu(), here.history)
        assert torch.equal(batch.targets.cpu(), here.targets)


def data_of_the_host() -> Any:
    """Return batches that the processor gathers."""
    module = data()
    module.prepare_for(DataRequest(all_positions=True))
    return module.train_dataloader()


class Refusing(Callback):
    """Lets nothing wait from the start of one step to the end of another.

    Args:
        first: number of the first.
        last: number of the last.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last, self.steps = first, last, 0
        self._stack = ExitStack()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Begin."""
        if batch_idx == self.first:
            self._stack.enter_context(refusing_to_wait())

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End."""
        self.steps += self.first <= batch_idx <= self.last
        if batch_idx == self.last:
            self._stack.close()


def test_the_trainer_does_not_wait_between_steps_that_it_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the progress bar shows is read after each step: it lies with the host."""
    shown: list[Any] = []
    log = LightningModule.log

    def noting(self: Any, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("prog_bar") and self.trainer.training:
            shown.append((name, value))
        log(self, name, value, *args, **kwargs)

    monkeypatch.setattr(LightningModule, "log", noting)
    refusing = Refusing(4, 6)
    train(
        build("YouTubeDNN", loss=CROLoss(importance={"name": "target_n", "n": 20})),
        callbacks=[refusing, CROLossCallback(n=Linear(30, 20, until=9))],
        limit_train_batches=sized(9, 1.0),
        limit_val_batches=0,
        log_every_n_steps=4,
    )
    assert {name for name, _ in shown} == {"train/loss", "croloss/n"}
    assert all(isinstance(value, torch.Tensor) and value.is_cpu for _, value in shown)
    assert not ON_GPU or refusing.steps == 3
