"""Every model with every loss and every sampler trains one step; new classes join by themselves."""

import inspect

import pytest
import torch

from lightning_croloss import MixedNegatives, PopularityNegatives, RetrievalModel, UniformNegatives
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.negatives import Negatives
from tests.registries import concrete

NUM_ITEMS = 12


#: Arguments of the classes that cannot be built without.
ARGUMENTS = {
    "LightGCN": lambda: {"num_users": 5},
    "MatrixFactorization": lambda: {"num_users": 5},
    "NGCF": lambda: {"num_users": 5},
    "MixedNegatives": lambda: {"parts": [UniformNegatives(4), PopularityNegatives(6)]},
}


def build(cls, **kwargs):
    required = {
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    kwargs |= ARGUMENTS.get(cls.__name__, dict)()
    assert required <= kwargs.keys(), f"give {cls.__name__} its {required - kwargs.keys()} in ARGUMENTS"
    return cls(**kwargs)


def batch_of_users():
    generator = torch.Generator().manual_seed(0)
    history = torch.randint(1, NUM_ITEMS + 1, (5, 6), generator=generator)
    history[0, :4] = 0
    targets = torch.randint(1, NUM_ITEMS + 1, (5, 1), generator=generator)
    known = torch.cat([history, targets], dim=1)
    return RetrievalBatch(history, targets, torch.arange(1, 6), torch.rand(5, generator=generator), known)


@pytest.mark.filterwarnings("ignore:.*negatives are drawn out of")
@pytest.mark.parametrize("sampler", concrete(Negatives), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("loss", concrete(RetrievalLoss), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("model", concrete(RetrievalModel), ids=lambda cls: cls.__name__)
def test_one_step(model, loss, sampler):
    torch.manual_seed(0)
    negatives = build(sampler, exclude_known_positives=True)
    built = build(model, num_items=NUM_ITEMS, embedding_dim=4, ns=(5,), loss=build(loss), negatives=negatives)
    counts = torch.arange(NUM_ITEMS + 1) + 1
    built.negatives.prepare(counts, counts)
    before = {name: value.clone() for name, value in built.named_parameters()}
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1)
    value = built.loss_of(batch_of_users())
    value.backward()
    gradients = [parameter.grad for parameter in built.parameters() if parameter.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients)
    optimizer.step()
    assert bool(torch.isfinite(value))
    moved = {name for name, value in built.named_parameters() if not torch.equal(value, before[name])}
    assert "item_embedding.weight" in moved


def test_the_grid_is_not_empty():
    assert len(concrete(RetrievalModel)) >= 3
    assert {"CROLoss", "SoftmaxLoss", "BPRLoss", "TripletLoss"} <= {
        cls.__name__ for cls in concrete(RetrievalLoss)
    }
    assert MixedNegatives in concrete(Negatives)
