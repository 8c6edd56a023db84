"""Every architecture trains with its weights in half precision, whatever the optimizer, loss or sampler."""

import functools

import pytest
import torch

from lightning_croloss import (
    BPRLoss,
    CROLoss,
    FullCatalogNegatives,
    InBatchNegatives,
    SoftmaxLoss,
    TripletLoss,
    UniformNegatives,
)
from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.models import (
    MIND,
    NGCF,
    BERT4Rec,
    LightGCN,
    MatrixFactorization,
    SASRec,
    TwoTower,
    YouTubeDNN,
)
from lightning_croloss.models.layers import drop_history
from lightning_croloss.training.half_precision import LEAST_EPS, raise_eps
from lightning_croloss.training.lazy_adam import LazyAdam
from tests.data_for_tests import ClusteredData, EventData, events_of, fit
from tests.models.cases import FEATURES
from tests.models.test_precision_and_compile import MODELS, build

DTYPES = {"16-true": torch.float16, "bf16-true": torch.bfloat16}


@pytest.mark.parametrize("arguments", [{"mask_probability": 0.3}, {"random_ends": True}])
def test_masks_fall_as_they_do_in_full_precision(arguments):
    model, real = build(BERT4Rec, arguments), torch.ones(400, 30, dtype=torch.bool)
    chosen = drawn_in_each_type(lambda: model._choose(real)[0])
    assert torch.equal(*chosen)


def test_events_and_ids_are_dropped_as_they_are_in_full_precision():
    model, history = build(SASRec, {"id_dropout": 0.05}), torch.arange(1, 41).repeat(400, 1)
    assert torch.equal(*drawn_in_each_type(lambda: drop_history(history, 0.05, training=True)))
    model.seen_items = torch.ones(41, dtype=torch.bool)  # what a model with features has
    assert torch.equal(*drawn_in_each_type(lambda: model._own_embeddings(history) == 0))


def drawn_in_each_type(draw):
    """Return what is drawn where the default type is that of ``precision: bf16-true``, and as usual."""
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(0)
        try:
            torch.set_default_dtype(dtype)
            found.append(draw())
        finally:
            torch.set_default_dtype(torch.float32)
    return found


class WeightedData(ClusteredData):
    """Events with weights beyond the range of float16."""

    def load(self):
        events = super().load()
        weights = torch.linspace(1.0, 1e6, len(events))
        return type(events)(**{**vars(events), "weights": weights})


def check(model, precision, data=None):
    before = {name: value.clone() for name, value in model.named_parameters()}
    data = data or EventData(seed=0, eval_batch_size=60)
    trainer = fit(model, data, precision=precision, limit_train_batches=4, num_sanity_val_steps=0)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    assert 0.0 <= float(trainer.callback_metrics["val/recall@5"]) <= 1.0
    moved = 0
    for name, value in model.named_parameters():
        assert value.dtype == DTYPES[precision]
        assert torch.isfinite(value).all(), name
        moved += not torch.equal(value, before[name].to(value.dtype))
    assert moved >= len(before) / 2
    histories = [[1, 2], [], [3]]
    given = events_of(model, histories)
    ids, scores = model.recommend(histories, users=torch.tensor([1, 2, 3]), n=5, **given)
    assert (ids > 0).all()
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(("cls", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_architecture(cls, arguments, precision):
    check(build(cls, arguments), precision)


OPTIMIZERS = {
    "Adam": functools.partial(torch.optim.Adam, lr=1e-3, eps=1e-8),
    "AdamW": functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1),
    "tiny rate": functools.partial(torch.optim.NAdam, lr=1e-2),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=1e-3),
    "Adagrad": functools.partial(torch.optim.Adagrad, lr=1e-2),
    "SGD": functools.partial(torch.optim.SGD, lr=0.1),
    "LazyAdam": functools.partial(LazyAdam, lr=1e-3, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name):
    check(build(MIND, {"optimizer": OPTIMIZERS[name]}), "16-true")


VARIANTS = {
    "soft readout": (MIND, {"readout": "attention", "readout_power": 1e5}),
    "dot": (MatrixFactorization, {"num_users": 60, "similarity": "dot"}),
    "graph": (LightGCN, {"num_users": 60, "edge_dropout": 0.1}),
    "graph with layers": (NGCF, {"num_users": 60, "node_dropout": 0.1}),
    "known users": (TwoTower, {**FEATURES, "use_user_id": True, "pooling": "max"}),
    "all items": (YouTubeDNN, {"negatives": FullCatalogNegatives()}),
    "in batch": (YouTubeDNN, {"negatives": InBatchNegatives()}),
    "cold": (YouTubeDNN, {"loss": CROLoss(temperature=0.01)}),
    "fused": (YouTubeDNN, {"loss": CROLoss(kernel="exp", fused=True)}),
    "softmax": (YouTubeDNN, {"loss": SoftmaxLoss(temperature=0.02)}),
    "bpr": (YouTubeDNN, {"loss": BPRLoss()}),
    "triplet": (YouTubeDNN, {"loss": TripletLoss()}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_setting(name):
    cls, arguments = VARIANTS[name]
    if "negatives" not in arguments:
        arguments = {**arguments, "negatives": UniformNegatives(30)}
    torch.manual_seed(0)
    check(cls(num_items=40, embedding_dim=8, ns=(5,), **arguments), "16-true")


def test_sparse_gradients(monkeypatch):
    arguments = {"sparse_gradients": True, "optimizer": functools.partial(LazyAdam, weight_decay=0.1)}
    check(build(YouTubeDNN, arguments), "bf16-true")
    with pytest.raises(ValueError, match="cannot add up sparse gradients in float16: leave"):
        check(build(YouTubeDNN, arguments), "16-true")
    monkeypatch.setattr("lightning_croloss.training.sparse_gradients.AUTOMATIC_ROWS", 10)
    check(build(YouTubeDNN, {}), "16-true")  # of so many rows sparse ones would be chosen


def test_weights_of_events_beyond_float16():
    check(build(YouTubeDNN, {}), "16-true", WeightedData(seed=0))


def test_unit_length_of_zeros_and_of_huge_and_tiny_vectors():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        vectors = torch.tensor([[0.0, 0.0], [3e4, 4e4], [3e-4, 4e-4]], dtype=dtype, requires_grad=True)
        found = unit_length(vectors)
        assert found.dtype == dtype
        expected = torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.6, 0.8]], dtype=dtype)
        torch.testing.assert_close(found, expected, atol=4e-3, rtol=0)
        found.sum().backward()
        assert torch.isfinite(vectors.grad).all()


def test_eps_is_raised_for_float16_alone():
    for dtype, given, expected in (
        (torch.float16, 1e-8, LEAST_EPS),
        (torch.float16, 1e-2, 1e-2),
        (torch.bfloat16, 1e-8, 1e-8),
        (torch.float32, 1e-8, 1e-8),
    ):
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2, dtype=dtype))], eps=given)
        raise_eps([optimizer, torch.optim.SGD([torch.nn.Parameter(torch.zeros(2, dtype=dtype))])])
        assert optimizer.param_groups[0]["eps"] == expected
