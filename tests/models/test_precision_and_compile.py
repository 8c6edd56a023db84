"""Every architecture trains in mixed precision and compiled."""

import shutil
from functools import partial

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from lightning_croloss import (
    HSTU,
    MIND,
    NGCF,
    BERT4Rec,
    BSARec,
    Caser,
    ComiRecDR,
    ComiRecSA,
    CROLoss,
    ESASRec,
    GRU4Rec,
    LightGCN,
    LossScheduler,
    MatrixFactorization,
    SASRec,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.data import DataRequest
from lightning_croloss.schedules import Linear
from tests.data_for_tests import EventData, fit, quiet_trainer
from tests.models.cases import EVENT_FEATURES, FEATURES

MODELS = [
    (YouTubeDNN, FEATURES),
    (TwoTower, FEATURES),
    (
        TwoTower,
        {**FEATURES, "user_interactions": ("fm", "cross"), "item_interactions": ("fm", "cross")}
        | {"separate_user_features": True},
    ),
    (MIND, {"routing_init": "fixed"}),
    (ComiRecSA, {}),
    (ComiRecDR, {}),
    (GRU4Rec, {}),
    (SASRec, {"train_on": "all"}),
    (ESASRec, {"train_on": "all"}),
    (HSTU, {"train_on": "all", **EVENT_FEATURES}),
    (BERT4Rec, {}),
    (BSARec, {"dropout": 0.0}),
    (Caser, {"dropout": 0.0}),
    (MatrixFactorization, {"num_users": 60}),
    (LightGCN, {"num_users": 60}),
    (NGCF, {"num_users": 60, "message_dropout": 0.0}),
]


def build(cls, arguments):
    torch.manual_seed(0)
    arguments = {"num_items": 40, "embedding_dim": 8, "ns": (5,), "id_dropout": 0.0, **arguments}
    if issubclass(cls, MatrixFactorization):
        arguments.pop("id_dropout")
    return cls(negatives=UniformNegatives(30), **arguments)


@pytest.mark.parametrize(("cls", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_bf16_mixed(cls, arguments):
    model = build(cls, arguments)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = fit(model, EventData(seed=0), precision="bf16-mixed", limit_train_batches=3)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert "item_embedding.weight" in moved
    assert all(value.dtype == torch.float32 for value in model.parameters())
    plain = build(cls, arguments)
    loss = fit(plain, EventData(seed=0), limit_train_batches=3).callback_metrics["train/loss"]
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(float(loss), rel=0.05)


@pytest.mark.parametrize(("cls", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.slow
def test_compiled(cls, arguments):
    torch._dynamo.reset()
    plain, model = build(cls, arguments), build(cls, arguments)
    options = {"limit_train_batches": 1, "limit_val_batches": 0, "num_sanity_val_steps": 0}
    fit(plain, EventData(seed=0), **options)
    fit(torch.compile(model, backend="eager"), EventData(seed=0), **options)
    for (name, expected), found in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3, equal_nan=True, msg=name)


@pytest.mark.parametrize(("cls", "arguments"), MODELS[7:8], ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.slow
def test_compiled_it_takes_batches_of_any_width(cls, arguments):
    torch._dynamo.reset()
    found = []
    for compiled in (False, True):
        # Adam would take the sign of the noise that is all the gradient of a key's bias
        model = build(cls, arguments | {"optimizer": partial(torch.optim.SGD, lr=0.1)})
        # windows of 3 and of 2 targets
        data = EventData(seed=0, batch_size=2, max_history=3, group_by_length=True)
        options = {"limit_train_batches": 12, "limit_val_batches": 0, "num_sanity_val_steps": 0}
        fit(torch.compile(model, backend="eager") if compiled else model, data, **options)
        found.append(model.state_dict())
        data.prepare_for(DataRequest(all_positions=True))
        assert len({batch.history.shape[1] for batch in data.train_dataloader()}) > 1
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, atol=1e-4, rtol=1e-3, equal_nan=True, msg=name)


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler")
@pytest.mark.slow
def test_compiled_by_the_default_backend_it_is_validated():
    """On processors with AVX-512 the ranking was traced, which failed."""
    torch._dynamo.reset()
    data, model = EventData(seed=0, eval_batch_size=60), build(YouTubeDNN, {"exclude_history": True})
    trainer = fit(torch.compile(model), data, limit_train_batches=1, num_sanity_val_steps=0)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    (plain,) = quiet_trainer().validate(model, data, verbose=False)
    for name, value in plain.items():
        assert float(trainer.callback_metrics[name]) == pytest.approx(value, abs=0.04)


@pytest.mark.parametrize("cls", [MIND, SASRec])
@pytest.mark.slow
def test_compiled_it_is_validated_tested_and_predicts(cls):
    torch._dynamo.reset()
    data, model = EventData(seed=0, eval_batch_size=60), build(cls, {})
    compiled = torch.compile(model, backend="eager")
    trainer = fit(compiled, data, limit_train_batches=1, num_sanity_val_steps=0)
    (plain,) = quiet_trainer().validate(model, data, verbose=False)
    for name, value in plain.items():
        assert float(trainer.callback_metrics[name]) == pytest.approx(value, abs=0.04)
    (tested,) = quiet_trainer().test(compiled, data, verbose=False)
    assert tested == pytest.approx(quiet_trainer().test(model, data, verbose=False)[0], abs=0.04)
    (found,), (expected,) = (trainer.predict(each, data) for each in (compiled, model))
    torch.testing.assert_close(found[1], expected[1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "kernel",
    ["softplus", *(pytest.param(name, marks=pytest.mark.slow) for name in ("exp", "psl_tanh"))],
)
def test_annealing_the_temperature_compiles_nothing_again_and_freezes_no_value(kernel):
    """A step of a model, 100 times, each with another temperature and Lambda weight."""
    torch._dynamo.reset()
    counter = CompileCounter()
    loss = CROLoss(kernel, temperature=0.5, lambda_weight=0.5, fused=False)
    model, data = build(YouTubeDNN, {"loss": loss}), EventData(seed=0)
    fit(model, data, limit_train_batches=1, limit_val_batches=0, num_sanity_val_steps=0)
    model.train()
    batch = next(iter(data.train_dataloader()))
    scheduler = LossScheduler(model, 100, temperature=Linear(0.5, 0.05), lambda_weight=Linear(0.2, 0.8))
    compiled = torch.compile(model.loss_of, backend=counter)
    found, expected, graphs = [], [], []
    for _ in range(100):
        for values, step in ((expected, model.loss_of), (found, compiled)):
            torch.manual_seed(0)
            values.append(float(step(batch).detach()))
        graphs.append(counter.frame_count)
        scheduler.step()
    assert 1 <= graphs[0] == graphs[-1]
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(set(expected)) == 100
