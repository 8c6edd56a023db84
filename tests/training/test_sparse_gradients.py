"""LazyAdam against Adam, and sparse gradients in training."""

import copy
import functools
import itertools

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lightning_croloss import (
    BPRLoss,
    FullCatalogNegatives,
    GRU4Rec,
    InBatchNegatives,
    MatrixFactorization,
    PopularityNegatives,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.training import sparse_gradients as sparse_rows
from lightning_croloss.training.lazy_adam import LazyAdam
from lightning_croloss.training.sparse_gradients import clip_gradients, lazy_optimizer
from tests.data_for_tests import ClusteredData, FeaturedData, fit, small_model
from tests.distributed import run_distributed
from tests.models.cases import FEATURES

# ---------------------------------------------------------------------- the optimizer


def rows_of_steps(steps, rows=9, touched=4):
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        ids = torch.randint(0, rows, (touched,), generator=generator)  # some of them twice
        yield ids, torch.randn(touched, 3, generator=generator, dtype=torch.float64)


def sparse(ids, values, rows=9):
    return torch.sparse_coo_tensor(ids.unsqueeze(0), values, (rows, 3))


def parameters():
    torch.manual_seed(0)
    start = torch.randn(9, 3, dtype=torch.float64)
    return nn.Parameter(start.clone()), nn.Parameter(start.clone())


def naive(start, steps, lr, betas, eps, weight_decay):
    """Update one row after the other, as the docstring says."""
    values, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    last = [0] * len(start)
    for step, (ids, gradients) in enumerate(steps, start=1):
        for row in set(ids.tolist()):
            gradient = gradients[ids == row].sum(0)
            missed = step - last[row]
            values[row] *= (1 - lr * weight_decay) ** missed
            first[row] = betas[0] ** missed * first[row] + (1 - betas[0]) * gradient
            second[row] = betas[1] ** missed * second[row] + (1 - betas[1]) * gradient**2
            mean, variance = first[row] / (1 - betas[0] ** step), second[row] / (1 - betas[1] ** step)
            values[row] -= lr * mean / (variance.sqrt() + eps)
            last[row] = step
    return values


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("lr", "betas", "eps"), [(0.1, (0.9, 0.99), 1e-8), (0.03, (0.5, 0.7), 1e-3)])
def test_each_row_is_updated_as_a_loop_does(lr, betas, eps, weight_decay):
    steps = list(rows_of_steps(12))
    parameter, _ = parameters()
    optimizer = LazyAdam([parameter], lr, betas, eps, weight_decay)
    expected = naive(parameter.detach(), steps, lr, betas, eps, weight_decay)
    for ids, gradients in steps:
        parameter.grad = sparse(ids, gradients)
        optimizer.step()
    torch.testing.assert_close(parameter.detach(), expected)


def test_moments_are_those_of_adam_and_rows_without_gradient_do_not_move():
    (lazy, dense), steps = parameters(), list(rows_of_steps(12))
    lazy_adam, adam = LazyAdam([lazy], 0.1), torch.optim.Adam([dense], 0.1)
    for ids, gradients in steps:
        before = lazy.detach().clone()
        lazy.grad = sparse(ids, gradients)
        dense.grad = lazy.grad.to_dense()
        lazy_adam.step()
        adam.step()
        moved = (lazy.detach() != before).any(1)
        assert set(moved.nonzero().flatten().tolist()) == set(ids.tolist())
    lazy.grad, dense.grad = torch.zeros_like(lazy), torch.zeros_like(dense)  # brings all rows to one step
    lazy_adam.step()
    adam.step()
    for name in ("step", "exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(lazy_adam.state[lazy][name], adam.state[dense][name])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_with_dense_gradients_it_is_adamw(weight_decay):
    one, other = parameters()
    optimizers = [
        LazyAdam([one], 0.1, weight_decay=weight_decay),
        torch.optim.AdamW([other], 0.1, weight_decay=weight_decay),
    ]
    for ids, gradients in rows_of_steps(8):
        one.grad = other.grad = sparse(ids, gradients).to_dense()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_states_of_adam_and_of_lazy_adam_are_exchanged(kind):
    one, other = parameters()
    steps = list(rows_of_steps(6))
    adam = kind([one], 0.1, weight_decay=0.0)
    for ids, gradients in steps:
        one.grad = sparse(ids, gradients).to_dense()
        adam.step()
    other.data.copy_(one.data)
    lazy = LazyAdam([other], 0.5)
    lazy.load_state_dict(copy.deepcopy(adam.state_dict()))
    assert lazy.param_groups[0]["lr"] == 0.1
    other.grad, one.grad = sparse(*steps[0]), sparse(*steps[0]).to_dense()
    lazy.step()
    adam.step()
    touched = steps[0][0].unique()
    torch.testing.assert_close(other[touched], one[touched])
    again = kind([one], 0.5)
    again.load_state_dict(lazy.state_dict())
    again.step()


def test_last_steps_stay_integers_beyond_what_a_float_can_count():
    parameter, _ = parameters()
    optimizer = LazyAdam([parameter])
    parameter.grad = sparse(torch.tensor([1]), torch.ones(1, 3, dtype=torch.float64))
    optimizer.step()
    optimizer.state[parameter]["last_step"].fill_(2**24 + 1)
    again = LazyAdam([parameter])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    last = again.state[parameter]["last_step"]
    assert last.dtype == torch.int64
    assert last[0] == 2**24 + 1


@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_equals_that_of_dense_gradients(algorithm, limit):
    one, other = parameters()
    extra = [nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2)]
    ids, gradients = next(rows_of_steps(1))
    one.grad = sparse(ids, gradients)
    other.grad = one.grad.to_dense()
    for parameter in extra:
        parameter.grad = torch.tensor([3.0, -2.0], dtype=torch.float64)
    clip_gradients(iter([one, extra[0], nn.Parameter(torch.ones(1))]), limit, algorithm)
    if algorithm == "norm":
        nn.utils.clip_grad_norm_([other, extra[1]], limit)
    else:
        nn.utils.clip_grad_value_([other, extra[1]], limit)
    torch.testing.assert_close(one.grad.to_dense(), other.grad)
    torch.testing.assert_close(extra[0].grad, extra[1].grad)


@pytest.mark.parametrize(
    "arguments", [{"lr": -1.0}, {"eps": -1.0}, {"weight_decay": float("nan")}, {"betas": (0.9, 1.0)}]
)
def test_refuses_settings(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be"):
        LazyAdam([nn.Parameter(torch.ones(2))], **arguments)


# ---------------------------------------------------------------------- the choice


ADAM = functools.partial(torch.optim.Adam, lr=0.01)


@pytest.mark.parametrize(
    ("arguments", "rows", "lazy"),
    [
        ({}, 40, True),
        ({}, 42, False),
        ({"sparse_gradients": True}, 1000, True),
        ({"sparse_gradients": False}, 1, False),
        ({"negatives": FullCatalogNegatives()}, 1, False),
        ({"negatives": PopularityNegatives(20)}, 1, True),
        ({"optimizer": ADAM}, 1, True),
        ({"optimizer": functools.partial(torch.optim.Adam, weight_decay=0.1)}, 1, False),
        ({"optimizer": functools.partial(torch.optim.AdamW, weight_decay=0.1)}, 1, True),
        ({"optimizer": functools.partial(torch.optim.AdamW, amsgrad=True)}, 1, False),
        ({"optimizer": functools.partial(torch.optim.AdamW, amsgrad=False)}, 1, True),
        ({"optimizer": functools.partial(torch.optim.SGD, lr=0.1)}, 1, False),
        ({"optimizer": functools.partial(LazyAdam, lr=0.1)}, 1, True),
    ],
)
def test_when_gradients_are_sparse(arguments, rows, lazy, monkeypatch):
    monkeypatch.setattr(sparse_rows, "AUTOMATIC_ROWS", rows)
    model = small_model(**arguments)
    kinds = []
    backward = model.on_after_backward
    model.on_after_backward = lambda: kinds.append(model.item_embedding.weight.grad.is_sparse) or backward()
    trainer = fit(model, limit_train_batches=2)
    assert kinds == [lazy, lazy]
    assert isinstance(trainer.optimizers[0], LazyAdam) == (
        lazy or "LazyAdam" in str(arguments.get("optimizer"))
    )
    assert not model.item_embedding.sparse, "afterwards any optimizer can take the gradients"


def test_a_compiled_model_stays_dense(monkeypatch):
    monkeypatch.setattr(sparse_rows, "AUTOMATIC_ROWS", 1)
    model = torch.compile(small_model(), backend="eager")
    assert not isinstance(fit(model, limit_train_batches=2).optimizers[0], LazyAdam)


def test_the_settings_of_adam_are_kept():
    given = functools.partial(torch.optim.AdamW, lr=0.3, betas=(0.5, 0.6), eps=0.1)
    built = lazy_optimizer(given)
    assert built.keywords == {"lr": 0.3, "betas": (0.5, 0.6), "eps": 0.1, "weight_decay": 0.01}
    assert lazy_optimizer(None).keywords == {"lr": 1e-3}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"optimizer": functools.partial(torch.optim.SGD, lr=0.1)}, r"got SGD\(lr=0\.1\)"),
        ({"optimizer": functools.partial(torch.optim.Adam, weight_decay=0.1)}, "Adam without weight_decay"),
        ({"negatives": FullCatalogNegatives()}, "every row has a gradient"),
    ],
)
def test_refuses_what_cannot_be(arguments, said):
    with pytest.raises(ValueError, match=said):
        small_model(sparse_gradients=True, **arguments)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("cls", "arguments", "negatives"),
    [
        (YouTubeDNN, {}, UniformNegatives(30)),
        (YouTubeDNN, {"loss": BPRLoss()}, InBatchNegatives()),
        (TwoTower, {**FEATURES, "use_user_id": True}, PopularityNegatives(20)),
        (GRU4Rec, {"train_on": "all"}, UniformNegatives(30)),
        (MatrixFactorization, {"num_users": 60}, UniformNegatives(30)),
    ],
)
def test_one_step_is_that_of_dense_gradients(cls, arguments, negatives):
    models = []
    for lazy in (False, True):
        torch.manual_seed(0)
        model = cls(
            num_items=40,
            embedding_dim=8,
            ns=(5,),
            negatives=negatives,
            sparse_gradients=lazy,
            optimizer=ADAM,
            **arguments,
        )
        fit(model, FeaturedData(seed=0), limit_train_batches=1)
        models.append(model)
    for (name, one), other in zip(
        models[0].state_dict().items(), models[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4, equal_nan=True, msg=name)


def test_it_learns():
    dense, lazy = (
        fit(
            small_model(sparse_gradients=flag, optimizer=functools.partial(torch.optim.Adam, lr=0.02)),
            max_epochs=12,
        ).callback_metrics["val/recall@10"]
        for flag in (False, True)
    )
    assert lazy > dense - 0.1
    assert lazy > 0.6


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 2},
        {"gradient_clip_val": 0.3, "precision": "bf16-mixed"},
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, options):
    def build():
        return small_model(sparse_gradients=True, history_dropout=0.3, optimizer=ADAM)

    whole, resumed = build(), build()
    fit(whole, max_epochs=2, **options)
    fit(build(), max_epochs=1, **options).save_checkpoint(tmp_path / "one.ckpt")
    torch.manual_seed(12345)
    trainer = fit(resumed, max_epochs=2, ckpt_path=tmp_path / "one.ckpt", **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    last = trainer.optimizers[0].state[resumed.item_embedding.weight]["last_step"]
    assert last.dtype == torch.int64
    assert last.max() == trainer.global_step


def test_clipping_and_accumulation_have_an_effect():
    weights = [
        (fit(model, limit_train_batches=4, **options), model.item_embedding.weight)[1]
        for options in ({}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 1e-9})
        for model in [small_model(sparse_gradients=True, optimizer=ADAM)]
    ]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(weights, 2))


@pytest.mark.parametrize(("first", "then"), [(False, True), (True, False)])
def test_a_run_goes_on_with_the_other_kind(tmp_path, first, then):
    steps = ModelCheckpoint(tmp_path, save_last=True)
    fit(small_model(sparse_gradients=first), callbacks=[steps], enable_checkpointing=True)
    model = small_model(sparse_gradients=then)
    trainer = fit(model, max_epochs=2, ckpt_path=tmp_path / "last.ckpt")
    assert trainer.global_step == 20
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def in_one_of_two_processes(rank, world_size):
    model = small_model(sparse_gradients=True, optimizer=ADAM)
    before = model.item_embedding.weight.detach().clone()
    trainer = fit(
        model, ClusteredData(seed=0), strategy="ddp", devices=world_size, limit_train_batches=3, max_epochs=1
    )
    assert isinstance(trainer.optimizers[0], LazyAdam)
    assert not torch.equal(before, model.item_embedding.weight)
    return [value.numpy() for value in model.state_dict().values()]


def test_replicas_stay_equal():
    one, other = run_distributed(in_one_of_two_processes, 2)
    for ours, theirs in zip(one, other, strict=True):
        assert (ours == theirs).all()
