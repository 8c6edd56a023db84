"""Optimization: what it builds, and which gradients it gives the embeddings."""

import functools

import pytest
import torch
from torch import nn

from lightning_croloss import FullCatalogNegatives, UniformNegatives
from lightning_croloss.training import LazyAdam
from lightning_croloss.training.optimization import Optimization
from tests.data_for_tests import quiet_trainer

ADAMW = functools.partial(torch.optim.AdamW, lr=0.25)


def optimization(sparse=None, optimizer=None, scheduler=None, interval="epoch", negatives=None):
    return Optimization(optimizer, scheduler, interval, sparse, negatives or UniformNegatives(5))


def embeddings():
    return [nn.Embedding(9, 2), nn.Embedding(4, 2)]


@pytest.mark.parametrize("sparse", [True, False])
def test_what_is_asked_for_is_decided(sparse):
    made, tables = optimization(sparse), embeddings()
    made.decide(tables, UniformNegatives(5), quiet_trainer(), compiled=False)
    assert made.lazy is sparse
    assert [table.sparse for table in tables] == [sparse, sparse]
    built = made.build(iter([table.weight for table in tables]))
    assert type(built) is (LazyAdam if sparse else torch.optim.Adam)
    assert built.param_groups[0]["lr"] == 1e-3


def test_small_embeddings_stay_dense_where_nothing_is_asked_for():
    made, tables = optimization(), embeddings()
    made.decide(tables, UniformNegatives(5), quiet_trainer(), compiled=False)
    assert not made.lazy
    assert not any(table.sparse for table in tables)


def test_sparse_gradients_can_be_taken_back():
    made, tables = optimization(True, ADAMW), embeddings()
    made.set_sparse(tables, True)
    assert type(made.build(iter([tables[0].weight]))) is LazyAdam
    made.set_sparse(tables, False)
    assert not any(table.sparse for table in tables)
    built = made.build(iter([tables[0].weight]))
    assert type(built) is torch.optim.AdamW
    assert built.param_groups[0]["lr"] == 0.25


def test_the_scheduler_comes_with_its_interval():
    step = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3)
    made = optimization(optimizer=ADAMW, scheduler=step, interval="step")
    assert made.lr_scheduler.keywords == {"step_size": 3}
    built = made.build(iter([nn.Parameter(torch.ones(1))]))
    assert built["lr_scheduler"]["interval"] == "step"
    assert built["lr_scheduler"]["scheduler"].step_size == 3


def test_refuses():
    with pytest.raises(ValueError, match=r"lr_scheduler_interval must be .*, got 'batch'"):
        optimization(interval="batch")
    with pytest.raises(ValueError, match="sparse"):
        optimization(True, negatives=FullCatalogNegatives())
    with pytest.raises(ValueError, match="sparse"):
        optimization(True, functools.partial(torch.optim.RMSprop, lr=0.1))
