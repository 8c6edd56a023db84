"""Sparse gradients: when they are chosen, how they are clipped, and training with them."""

import functools
import itertools

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

import lightning_croloss
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
from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.training import LazyAdam
from lightning_croloss.training import sparse_gradients as sparse_rows
from lightning_croloss.training.sparse_gradients import clip_gradients, lazy_optimizer
from tests.data_for_tests import ClusteredData, FeaturedData, fit, small_model
from tests.distributed import be_process, run_distributed
from tests.models.cases import FEATURES
from tests.training.cases import parameters, rows_of_steps, sparse

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


@pytest.mark.slow
def test_a_compiled_model_stays_dense(monkeypatch):
    monkeypatch.setattr(sparse_rows, "AUTOMATIC_ROWS", 1)
    model = torch.compile(small_model(), backend="eager")
    trainer = fit(model, limit_train_batches=2, limit_val_batches=0, num_sanity_val_steps=0)
    assert not isinstance(trainer.optimizers[0], LazyAdam)


def groups_of(model):
    embeddings = {id(table.weight) for table in model.id_embeddings()}
    groups = ([p for p in model.parameters() if (id(p) in embeddings) is inside] for inside in (True, False))
    return [{"params": group, "weight_decay": 0.01 * index} for index, group in enumerate(groups) if group]


OWN = {
    "one": lambda model: torch.optim.AdamW(groups_of(model), lr=1e-3),
    "a list": lambda model: [torch.optim.Adam(model.parameters())],
    "two lists": lambda model: ([torch.optim.RMSprop(model.parameters())], []),
    "a dictionary": lambda model: {"optimizer": torch.optim.Adam(model.parameters(), amsgrad=True)},
    "momentum": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "a lazy one": lambda model: LazyAdam(groups_of(model), lr=1e-3),
    "the model's": lambda model: {"optimizer": super(type(model), model).configure_optimizers()},
}
KINDS = {
    "YouTubeDNN": {},
    "GRU4Rec": {},
    "MatrixFactorization": {"num_users": 60},
    "TwoTower": {},
    "MIND": {},
    "ComiRecDR": {},
    "ComiRecSA": {},
    "SASRec": {"max_length": 5},
    "ESASRec": {"max_length": 5},
    "HSTU": {"max_length": 5},
    "BERT4Rec": {"max_length": 5},
    "BSARec": {"max_length": 5},
    "Caser": {},
}


def one_that_builds(own, cls=YouTubeDNN):
    return type(
        "Own", (cls,), {"configure_optimizers": lambda model: OWN[own](model), "__module__": __name__}
    )


@pytest.mark.parametrize(
    ("own", "kind"),
    [*((own, "YouTubeDNN") for own in OWN), *(("one", kind) for kind in KINDS if kind != "YouTubeDNN")],
)
def test_the_optimizer_that_is_built_decides(own, kind, monkeypatch):
    monkeypatch.setattr(sparse_rows, "AUTOMATIC_ROWS", 1)
    cls = one_that_builds(own, getattr(lightning_croloss, kind))
    model = cls(40, embedding_dim=4, ns=(5,), negatives=UniformNegatives(20), **KINDS[kind])
    kinds = []
    model.on_after_backward = lambda: kinds.extend(
        table.weight.grad.is_sparse for table in model.id_embeddings()
    )
    fit(model, limit_train_batches=2, gradient_clip_val=0.5)
    assert set(kinds) == {own in ("a lazy one", "the model's")}


def test_sparse_gradients_that_the_built_optimizer_refuses():
    model = small_model(one_that_builds("one"), sparse_gradients=True)
    with pytest.raises(
        ValueError, match="configure_optimizers builds AdamW for the embeddings, which takes dense"
    ):
        fit(model)


class OfOwn(YouTubeDNN):
    """Has a table that could lie in shards, and is all here."""

    def __init__(self, num_items, sparse=False, **kwargs):
        super().__init__(num_items, **kwargs)
        self.item_embedding = ShardedEmbedding.from_whole(self.item_embedding)
        self.item_embedding.sparse = sparse


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_of_a_table_that_could_lie_in_shards_are_clipped_in_one_process(algorithm):
    found = []
    for cls in (YouTubeDNN, OfOwn):
        model = small_model(cls, negatives=UniformNegatives(20))
        fit(model, limit_train_batches=3, gradient_clip_val=0.01, gradient_clip_algorithm=algorithm)
        found.append(model.item_embedding.weight.detach())
    torch.testing.assert_close(*found)


def test_sparse_gradients_of_an_optimizer_of_the_users_are_clipped():
    sgd = functools.partial(torch.optim.SGD, lr=0.1)
    model = small_model(OfOwn, sparse=True, negatives=UniformNegatives(20), optimizer=sgd)
    before = model.item_embedding.weight.detach().clone()
    fit(model, limit_train_batches=1, max_epochs=1, gradient_clip_val=0.01)
    moved = (model.item_embedding.weight.detach() - before).norm()
    assert 0.0 < moved <= 0.1 * 0.01 * 1.001


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


# ---------------------------------------------------------------------- clipping


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


@pytest.mark.slow
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
@pytest.mark.slow
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
    be_process(rank, world_size)
    model = small_model(sparse_gradients=True, optimizer=ADAM)
    before = model.item_embedding.weight.detach().clone()
    trainer = fit(
        model, ClusteredData(seed=0), strategy="ddp", devices=world_size, limit_train_batches=3, max_epochs=1
    )
    assert isinstance(trainer.optimizers[0], LazyAdam)
    assert not torch.equal(before, model.item_embedding.weight)
    return [value.numpy() for value in model.state_dict().values()]


@pytest.mark.slow
def test_replicas_stay_equal():
    one, other = run_distributed(in_one_of_two_processes, 2)
    for ours, theirs in zip(one, other, strict=True):
        assert (ours == theirs).all()
