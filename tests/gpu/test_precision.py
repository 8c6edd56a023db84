"""Mixed precision and torch.compile on the device."""

from __future__ import annotations

import pytest
import torch

from lightning_croloss import CROLoss, CROLossCallback
from lightning_croloss.callbacks.schedules import Linear
from tests.gpu.architectures import build, train
from tests.gpu.device import ON_GPU

pytestmark = pytest.mark.gpu

SMALL = ("YouTubeDNN", "SASRec, all positions", "MIND, attention")
#: Compiled code for the CPU takes a compiler and a minute.
BACKEND = "inductor" if ON_GPU else "eager"
THREE_STEPS = {"limit_train_batches": 3, "limit_val_batches": 1, "num_sanity_val_steps": 0}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.filterwarnings("ignore:.*16-mixed.*not supported on CPU.*")
def test_mixed_precision(precision: str, name: str) -> None:
    if precision == "16-mixed" and not ON_GPU:
        precision = "bf16-mixed"  # the gradients' scaling exists for GPUs only
    plain, mixed = build(name), build(name)
    expected = train(plain, **THREE_STEPS).callback_metrics
    found = train(mixed, precision=precision, **THREE_STEPS).callback_metrics
    assert all(value.dtype == torch.float32 for value in mixed.parameters())
    assert float(found["train/loss"]) == pytest.approx(float(expected["train/loss"]), rel=0.05)
    moved = {key for key, value in build(name).state_dict().items() if "item_embedding" in key}
    start = build(name).state_dict()
    assert any(not torch.equal(mixed.state_dict()[key].cpu(), start[key]) for key in moved)


@pytest.mark.skipif(not ON_GPU, reason="tests/models compile every architecture on the CPU")
@pytest.mark.parametrize("name", SMALL)
def test_compiled(name: str) -> None:
    torch._dynamo.reset()
    changed = {"id_dropout": 0.0, "dropout": 0.0}
    plain, model = build(name, **changed), build(name, **changed)
    train(plain, **THREE_STEPS)
    train(torch.compile(model, backend=BACKEND), **THREE_STEPS)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(
            model.state_dict()[key], value, atol=1e-3, rtol=1e-2, equal_nan=True, msg=key
        )


def test_a_compiled_loss_follows_its_schedule() -> None:
    """A temperature that changes at every step must neither be frozen in nor compiled again."""
    torch._dynamo.reset()
    plain, model = (build("ComiRecDR", dropout=0.0, loss=CROLoss("softplus", fused=False)) for _ in range(2))
    options = {"limit_train_batches": 6, "limit_val_batches": 0, "num_sanity_val_steps": 0}
    schedule = Linear(0.5, 0.05, until=6)
    train(plain, callbacks=[CROLossCallback(temperature=schedule)], **options)
    compiled = torch.compile(model, backend=BACKEND)
    train(compiled, callbacks=[CROLossCallback(temperature=schedule)], **options)
    torch.testing.assert_close(
        model.item_embedding.weight, plain.item_embedding.weight, atol=1e-3, rtol=1e-2
    )
