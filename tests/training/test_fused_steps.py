"""Fused steps are those of the optimizer to rounding, and no run, checkpoint or choice of a user breaks."""

import functools

import pytest
import torch
from torch import nn

from lightning_croloss import FullCatalogNegatives
from lightning_croloss.training.fused_steps import fuse_steps
from lightning_croloss.training.lazy_adam import LazyAdam
from tests.data_for_tests import ClusteredData, fit, small_model

WHOLE = {"negatives": FullCatalogNegatives()}
KINDS = [
    functools.partial(torch.optim.Adam, lr=0.01, weight_decay=0.1),
    functools.partial(torch.optim.Adam, lr=0.01, amsgrad=True, maximize=True),
    functools.partial(torch.optim.AdamW, lr=0.01),
    functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    functools.partial(torch.optim.Adagrad, lr=0.1),
]
NAMES = ["Adam", "Adam amsgrad", "AdamW", "SGD", "Adagrad"]


def trained(build, steps, optimizer_state=None, weights=None, fused=True):
    """Return weights and the optimizer after some steps, each with a gradient that its number makes."""
    first = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).view(4, 3) if weights is None else weights
    weight = nn.Parameter(first.clone())
    optimizer = build([weight])
    if optimizer_state is not None:
        optimizer.load_state_dict(optimizer_state)
    if fused:
        fuse_steps([optimizer], [])
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        weight.grad = torch.randn(4, 3, dtype=torch.float64, generator=generator)
        optimizer.step()
    return weight.detach(), optimizer


@pytest.mark.parametrize("build", KINDS, ids=NAMES)
def test_fused_steps_equal_the_others(build):
    plain, _ = trained(build, range(7), fused=False)
    found, optimizer = trained(build, range(7))
    assert optimizer.param_groups[0]["fused"] is True
    torch.testing.assert_close(found, plain, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("before", ["fused", "plain"])
@pytest.mark.parametrize("build", KINDS, ids=NAMES)
def test_a_resumed_run_goes_on(build, before):
    """The state of a run whose steps were not fused is taken back too; its steps are fused from then on."""
    whole, _ = trained(build, range(9))
    half, optimizer = trained(build, range(4), fused=before == "fused")
    state = optimizer.state_dict()
    assert state["param_groups"][0]["fused"] is (True if before == "fused" else None)
    rest, again = trained(build, range(4, 9), state, half)
    assert again.param_groups[0]["fused"] is True
    if before == "fused":
        assert torch.equal(rest, whole)
    torch.testing.assert_close(rest, whole, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("said", [{"fused": False}, {"foreach": False}, {"differentiable": True}])
def test_what_a_user_says_is_kept(said):
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(2))], **said)
    fuse_steps([optimizer], [])
    assert optimizer.param_groups[0]["fused"] is said.get("fused")


def test_no_steps_are_fused_that_cannot_be():
    table = nn.Embedding(4, 2, sparse=True)
    sgd, adam = torch.optim.SGD(table.parameters(), lr=0.1), torch.optim.Adam(table.parameters())
    others = [torch.optim.NAdam(table.parameters()), LazyAdam(table.parameters())]
    meta = torch.optim.Adam([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    # of a run that could
    sgd.param_groups[0]["fused"] = meta.param_groups[0]["fused"] = True
    fuse_steps([sgd, adam, meta, *others], [table])
    assert [each.param_groups[0]["fused"] for each in (sgd, adam, meta)] == [None, True, None]
    table(torch.tensor([1])).sum().backward()
    sgd.step()


def test_a_scaler_of_gradients_unscales_them_itself():
    """So that they can be clipped between: PyTorch's own fused steps do both at once."""
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    fuse_steps([optimizer], [])
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    assert torch.equal(weight.grad, torch.ones(2))
    nn.utils.clip_grad_value_([weight], 0.25)
    scaler.step(optimizer)
    assert torch.equal(weight.detach(), torch.full((2,), 0.75))


@pytest.mark.parametrize("name", ["adam", "lazy", "own"])
def test_a_fit_fuses_the_steps_of_the_optimizer_that_it_builds(name):
    class Own(type(small_model())):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    kind, sparse = Own if name == "own" else None, name == "lazy"
    model = small_model(sparse_gradients=sparse or None)
    if kind is not None:
        model.__class__ = kind
    (used,) = fit(model, limit_train_batches=2).optimizers
    assert type(used) is (LazyAdam if sparse else torch.optim.Adam)
    assert used.param_groups[0].get("fused") is (True if name == "adam" else None)
    assert "fused" not in str(model.hparams)


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "bf16-true", "16-true"])
def test_gradients_are_clipped_in_every_precision(precision):
    model = small_model(**WHOLE, optimizer=functools.partial(torch.optim.SGD, lr=1.0))
    before = model.item_embedding.weight.detach().clone()
    trainer = fit(model, precision=precision, gradient_clip_val=1e-3, max_epochs=1, limit_train_batches=1)
    mixed = precision.endswith("mixed")
    # fused steps in half precision are wrong on a CPU
    assert trainer.optimizers[0].param_groups[0]["fused"] is (True if mixed else None)
    moved = (model.item_embedding.weight.detach().float() - before).norm()
    assert 0.0 < moved <= 2e-3 if mixed else torch.isfinite(moved)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
def test_steps_in_half_precision_are_not_fused(kind, dtype):
    weight = torch.nn.Parameter(torch.ones(40, 8, dtype=dtype))
    optimizer = kind([weight], lr=0.1)
    fuse_steps([optimizer], [])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert optimizer.param_groups[0]["fused"] is None
    assert (weight < 1).all()


def test_a_checkpoint_of_a_run_without_fused_steps_is_resumed(tmp_path):
    options = {"limit_train_batches": 3, "enable_checkpointing": False}
    whole = small_model(**WHOLE)
    fit(whole, ClusteredData(), max_epochs=2, **options)
    first = small_model(**WHOLE)
    trainer = fit(first, ClusteredData(), max_epochs=1, **options)
    path = tmp_path / "old.ckpt"
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    for group in content["optimizer_states"][0]["param_groups"]:
        assert group["fused"] is True
        group["fused"] = None
    torch.save(content, path)
    again = small_model(**WHOLE)
    resumed = fit(again, ClusteredData(), max_epochs=2, ckpt_path=path, **options)
    assert resumed.optimizers[0].param_groups[0]["fused"] is True
    for found, expected in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(found, expected)
