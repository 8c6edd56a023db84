"""GRU4Rec: its recurrence by a plain loop, and every argument."""

from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import GRU4Rec
from tests.models.cases import FOR_SEQUENCES, ArgumentTests, Outcomes
from tests.models.sequences import batch_of, small_sequence_model


class TestArguments(ArgumentTests):
    outcome = Outcomes(GRU4Rec, hidden_dims=(16,))
    cases: ClassVar = {**FOR_SEQUENCES, "hidden_dims": ({}, (16, 16)), "dropout": ({}, 0.5)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_dims": ()}, "hidden_dims must name the width of at least one recurrent layer, got none"),
        ({"hidden_dims": (8, 0)}, r"hidden_dims must be at least 1 each, got \[8, 0\]"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"train_on": "lst"}, "unknown train_on 'lst'; did you mean 'last'?"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_sequence_model(GRU4Rec, **arguments)


@pytest.mark.parametrize("hidden_dims", [(16,), (12, 6)])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_user_is_the_last_state_of_gated_units(hidden_dims, similarity):
    model = small_sequence_model(GRU4Rec, hidden_dims=hidden_dims, similarity=similarity, dropout=0.5).eval()
    states = [torch.zeros(width) for width in hidden_dims]
    for item in (7, 3, 9, 3):
        value = model.item_embedding.weight[item]
        for number, layer in enumerate(model.recurrent_layers):
            of_input = (layer.weight_ih_l0 @ value + layer.bias_ih_l0).chunk(3)
            of_state = (layer.weight_hh_l0 @ states[number] + layer.bias_hh_l0).chunk(3)
            reset = torch.sigmoid(of_input[0] + of_state[0])
            update = torch.sigmoid(of_input[1] + of_state[1])
            new = torch.tanh(of_input[2] + reset * of_state[2])
            value = states[number] = (1 - update) * new + update * states[number]
    expected = model.output_map.weight @ states[-1] + model.output_map.bias
    if similarity == "cosine":
        expected = functional.normalize(expected, dim=-1)
    found = model.encode_users(batch_of([0, 0, 7, 3, 9, 3]))
    assert found.shape == (1, 1, 8)
    torch.testing.assert_close(found[0, 0], expected)


def test_users_are_spread_from_the_start():
    """With PyTorch's own start they are near the bias of the output: the mean cosine is .9 and more."""
    torch.manual_seed(0)
    model = GRU4Rec(num_items=500, ns=(20,)).eval()
    users = model.encode_users(batch_of(*torch.randint(1, 501, (64, 20)).tolist()))[:, 0]
    assert float((users @ users.T).mean()) < 0.3
