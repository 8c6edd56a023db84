"""Mixed precision and torch.compile on the device."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from lightning_croloss import CROLoss, CROLossCallback, FullCatalogNegatives
from lightning_croloss.schedules import Linear
from tests.gpu.architectures import Steps, build, train
from tests.gpu.device import ON_GPU, sized

pytestmark = pytest.mark.gpu

SMALL = ("YouTubeDNN", "SASRec, all positions", "MIND, attention")
#: Compiled code for the CPU takes a compiler and a minute.
BACKEND = "inductor" if ON_GPU else "eager"
#: What makes compiled and plain steps the same: compiled code draws other numbers, and Adam makes whole steps
#: of differences in the last bits.
SAME = {
    "negatives": FullCatalogNegatives(),
    "optimizer": functools.partial(torch.optim.SGD, lr=0.1),
    "dropout": 0.0,
    "id_dropout": 0.0,
}
NO_EVALUATION = {"limit_val_batches": 0, "num_sanity_val_steps": 0}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision(precision: str, name: str) -> None:
    if precision == "16-mixed" and not ON_GPU:
        pytest.skip("the scaling of gradients exists for GPUs only")
    plain, mixed, steps, mixed_steps = build(name), build(name), Steps(), Steps()
    train(plain, callbacks=[steps], limit_train_batches=1, limit_val_batches=1)
    before = {key: value.clone() for key, value in mixed.named_parameters()}
    # with 16-mixed the first steps are left out until the scale fits
    train(
        mixed,
        precision=precision,
        callbacks=[mixed_steps],
        limit_train_batches=sized(16, 3),
        limit_val_batches=1,
    )
    assert mixed_steps.losses[0] == pytest.approx(steps.losses[0], rel=0.05)
    assert all(map(math.isfinite, mixed_steps.losses))
    assert all(value.dtype == torch.float32 for value in mixed.parameters())
    moved = {key for key, value in mixed.named_parameters() if not torch.equal(value.cpu(), before[key])}
    assert "item_embedding.weight" in moved


@pytest.mark.skipif(not ON_GPU, reason="tests/models compile every architecture on the CPU")
@pytest.mark.parametrize("name", SMALL)
def test_compiled(name: str) -> None:
    torch._dynamo.reset()
    plain, model = build(name, **SAME), build(name, **SAME)
    train(plain, limit_train_batches=3, **NO_EVALUATION)
    train(torch.compile(model, backend=BACKEND), limit_train_batches=3, **NO_EVALUATION)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(
            model.state_dict()[key], value, atol=1e-3, rtol=1e-2, equal_nan=True, msg=key
        )


def test_a_compiled_loss_follows_its_schedule() -> None:
    """A temperature that changes at every step must not be frozen into the compiled code."""
    torch._dynamo.reset()
    schedule, found = Linear(0.5, 0.05, until=6), []
    for compiles, scheduled in ((False, True), (True, True), (False, False)):
        model, steps = build("ComiRecDR", **SAME, loss=CROLoss("softplus", fused=False)), Steps()
        train(
            torch.compile(model, backend=BACKEND) if compiles else model,
            callbacks=[*([CROLossCallback(temperature=schedule)] if scheduled else []), steps],
            limit_train_batches=6,
            **NO_EVALUATION,
        )
        found.append(steps.losses)
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert max(abs(one - other) for one, other in zip(found[0], found[2], strict=True)) > 0.2
