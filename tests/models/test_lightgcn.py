"""LightGCN: against the published mean over the layers, and MatrixFactorization as its limit."""

from typing import ClassVar

import pytest
import torch

from lightning_croloss import (
    BPRLoss,
    FullCatalogNegatives,
    LightGCN,
    MatrixFactorization,
    SoftmaxLoss,
    UniformNegatives,
)
from tests.data_for_tests import ClusteredData, fit
from tests.models.cases import FOR_RETRIEVAL, ArgumentTests, Outcomes, same
from tests.models.graph_cases import batch_of, small, with_graph


class TestArguments(ArgumentTests):
    outcome = Outcomes(LightGCN, users=(1, 2), num_users=60)
    refused = ("sparse_gradients",)  # see test_graph_model.py
    cases: ClassVar = {
        **FOR_RETRIEVAL,
        "num_users": ({}, 64),
        "num_layers": ({}, 1),
        "edge_dropout": ({}, 0.5),
        "regularization": ({}, 0.5),
    }


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_vectors_are_the_mean_over_the_layers(num_layers):
    model = with_graph(small(num_layers=num_layers, similarity="dot")).double()
    users, items = model.user_embedding.weight[1:], model.item_embedding.weight[1:]
    shared = torch.zeros(60, 40, dtype=torch.float64)
    shared[model.graph.edges[0].long() - 1, model.graph.edges[1].long() - 1] = 1
    of_users, of_items = shared.sum(1, keepdim=True), shared.sum(0, keepdim=True)
    assert of_items.min() > 0
    norm = shared / (of_users.sqrt() * of_items.sqrt())
    layers = [(users, items)]
    for _ in range(num_layers):
        users, items = norm @ layers[-1][1], norm.T @ layers[-1][0]
        layers.append((users, items))
    expected = [torch.stack(side).mean(0) for side in zip(*layers, strict=True)]
    torch.testing.assert_close(model.encode_users(batch_of(list(range(1, 61))))[:, 0], expected[0])
    torch.testing.assert_close(model.encode_items(None), expected[1])


@pytest.mark.parametrize(
    ("negatives", "similarity"), [(UniformNegatives(30), "cosine"), (FullCatalogNegatives(), "dot")]
)
def test_without_layers_it_is_matrix_factorisation(negatives, similarity):
    arguments = {"negatives": negatives, "similarity": similarity, "loss": BPRLoss(0.3)}
    graph, plain = small(num_layers=0, **arguments), small(MatrixFactorization, **arguments)
    for model in (graph, plain):
        fit(model, ClusteredData(seed=0), limit_train_batches=5)
    state = {name: value for name, value in graph.state_dict().items() if name != "graph.edges"}
    if isinstance(negatives, FullCatalogNegatives):  # the loss sums over its table in another order
        torch.testing.assert_close(state, dict(plain.state_dict()))
        return
    assert same(state, dict(plain.state_dict()))
    assert same(*(dict(enumerate(m.recommend(n=9, users=torch.arange(1, 61)))) for m in (graph, plain)))


def test_dropped_edges_are_the_same_in_every_layer_and_drawn_anew_for_each_step():
    model = with_graph(small(edge_dropout=0.5, num_layers=2, similarity="dot"))
    torch.manual_seed(1)
    found = [model.encode_items(None) for _ in range(2)]
    assert not torch.equal(*found)
    torch.manual_seed(1)
    weights = model.graph.draw_edges(0.5, model.device)
    own = torch.cat([model.user_embedding.weight[1:], model.item_embedding.weight[1:]])
    once = model.graph(own, weights)
    expected = (own + once + model.graph(once, weights))[60:] / 3
    torch.testing.assert_close(found[0], expected)
    model.eval()
    assert torch.equal(model.encode_items(None), model.encode_items(None))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_layers": -1}, "num_layers must be at least 0, got -1"),
        ({"num_layers": 1.5}, r"num_layers must be a whole number, got 1\.5"),
        ({"edge_dropout": 1.0}, r"edge_dropout must be at least 0 and below 1, got 1\.0"),
        ({"num_users": 0}, "num_users must be at least 1, got 0"),
    ],
)
def test_refuses(arguments, said):
    with pytest.raises(ValueError, match=said):
        small(**arguments)


class Loss(torch.nn.Module):
    """The training loss of a model as a module, whose parameters can be replaced."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model.loss_of(batch)


def test_gradients():
    arguments = {"loss": SoftmaxLoss(0.3), "negatives": FullCatalogNegatives(), "regularization": 0.2}
    model = with_graph(small(num_layers=2, **arguments)).double()
    tables = {name: getattr(model, name).weight for name in ("user_embedding", "item_embedding")}

    def loss(*weights):
        named = zip(tables, weights, strict=True)
        replaced = {f"model.{name}.weight": weight for name, weight in named}
        return torch.func.functional_call(Loss(model), replaced, batch_of([3, 9], [2, 5]))

    weights = tuple(table.detach().clone().requires_grad_() for table in tables.values())
    assert torch.autograd.gradcheck(loss, weights, fast_mode=True)
