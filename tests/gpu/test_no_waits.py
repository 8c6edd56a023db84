"""A step makes the host wait for no GPU, which PyTorch itself tells; and events that lie there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lightning_croloss.data import DataRequest
from tests.gpu.architectures import ARCHITECTURES, Steps, build, data, train
from tests.gpu.device import DEVICE, ON_GPU, is_on_device, training_batch

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
