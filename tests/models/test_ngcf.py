"""NGCF: the embeddings beside the outcomes of its layers."""

from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import NGCF
from tests.models.cases import FOR_RETRIEVAL, ArgumentTests, Outcomes
from tests.models.graph_cases import batch_of, small, with_graph


class TestArguments(ArgumentTests):
    outcome = Outcomes(NGCF, users=(1, 2), num_users=60, hidden_dims=(6, 4))
    refused = ("sparse_gradients",)  # see test_graph_model.py
    cases: ClassVar = {
        **FOR_RETRIEVAL,
        "num_users": ({}, 64),
        "hidden_dims": ({}, (8,)),
        "node_dropout": ({}, 0.5),
        "message_dropout": ({}, 0.5),
        "regularization": ({}, 0.5),
    }


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_vectors_are_the_embeddings_and_the_outcomes_of_the_layers(similarity):
    model = with_graph(small(NGCF, hidden_dims=(6, 4), similarity=similarity)).double().eval()
    own = torch.cat([model.user_embedding.weight[1:], model.item_embedding.weight[1:]])
    first = model.layers[0](own, model.graph)
    second = model.layers[1](first, model.graph)
    parts = [own, functional.normalize(first, dim=-1), functional.normalize(second, dim=-1)]
    expected = model.normalize(torch.cat(parts, dim=-1))
    assert expected.shape == (100, 18)
    torch.testing.assert_close(model.encode_users(batch_of([60, 1]))[:, 0], expected[[59, 0]])
    torch.testing.assert_close(model.encode_items(None), expected[60:])


def test_without_layers_it_is_the_embeddings():
    model = with_graph(small(NGCF, hidden_dims=(), similarity="dot"))
    assert torch.equal(model.encode_items(None), model.item_embedding.weight[1:])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hidden_dims": (8, 0)}, r"hidden_dims must be at least 1 each, got \[8, 0\]"),
        ({"node_dropout": 1.0}, "node_dropout must be at least 0 and below 1"),
        ({"message_dropout": -0.1}, "message_dropout must be at least 0 and below 1"),
    ],
)
def test_refuses(arguments, said):
    with pytest.raises(ValueError, match=said):
        small(NGCF, **arguments)
