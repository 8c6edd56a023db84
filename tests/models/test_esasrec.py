"""ESASRec: its gated blocks by plain loops, its dropout, and every argument."""

from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import ESASRec
from lightning_croloss.models.layers.ligr import LiGRBlock
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import FOR_SEQUENCES, ArgumentTests, Outcomes
from tests.models.naive_attention import naive_attention
from tests.models.sequences import batch_of, small_sequence_model


def small_model(**arguments):
    return small_sequence_model(ESASRec, **arguments)


class TestArguments(ArgumentTests):
    outcome = Outcomes(ESASRec, feedforward_multiplier=2, max_length=10)
    cases: ClassVar = {
        **FOR_SEQUENCES,
        "num_blocks": ({}, 1),
        "num_heads": ({}, 4),
        "feedforward_multiplier": ({}, 1),
        "dropout": ({}, 0.5),
        "max_length": ({"max_length": 5}, 6),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
        ({"num_heads": 3}, "num_heads=3 must divide embedding_dim=8"),
        ({"feedforward_multiplier": 0}, "feedforward_multiplier must be at least 1, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"train_on": "al"}, "unknown train_on 'al'; did you mean 'all'?"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


def naive_swiglu(block, event):
    inner, outer = block.feedforward_input.weight.chunk(2)
    hidden = inner @ event
    hidden = hidden / (1 + (-hidden).exp()) * (outer @ event)
    return block.feedforward_output.weight @ hidden


def gate(layer, event):
    return 1 / (1 + (-(layer.weight @ event + layer.bias)).exp())


def naive_block(block, events):
    attended = naive_attention(block, [block.attention_norm(event) for event in events])
    events = [
        event + gate(block.attention_gate, event) * added
        for event, added in zip(events, attended, strict=True)
    ]
    return [
        event + gate(block.feedforward_gate, event) * naive_swiglu(block, block.feedforward_norm(event))
        for event in events
    ]


@pytest.mark.parametrize(("train_on", "positions"), [("last", [3, 2, 1, 0]), ("all", [0, 1, 2, 3])])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_user_is_the_last_output_of_gated_attention(train_on, positions, similarity):
    model = small_model(train_on=train_on, similarity=similarity).eval()
    with torch.no_grad():
        for value in model.blocks.parameters():
            value.add_(torch.randn_like(value) * 0.2)  # the gates are not at one half, biases not at 0
    events = [
        model.item_embedding.weight[item] * 8**0.5 + model.place_embedding.weight[position]
        for item, position in zip((7, 3, 9, 3), positions, strict=True)
    ]
    for block in model.blocks:
        events = naive_block(block, events)
    expected = functional.normalize(events[-1], dim=-1) if similarity == "cosine" else events[-1]
    found = model.encode_users(batch_of([0, 0, 7, 3, 9, 3]))
    assert found.shape == (1, 1, 8)
    torch.testing.assert_close(found[0, 0], expected)


def test_the_width_of_the_feedforward_network_is_a_multiple_and_it_has_no_bias():
    for multiplier in (1, 4):
        block = small_model(feedforward_multiplier=multiplier).blocks[0]
        assert block.feedforward_output.weight.shape == (8, 8 * multiplier)
        assert block.feedforward_input.weight.shape == (2 * 8 * multiplier, 8)
        assert block.feedforward_input.bias is None
        assert block.feedforward_output.bias is None


def block_of_equal_events():
    """A block whose attention adds 1, whose hidden layer is what it adds, and whose gates are at 1/2."""
    torch.manual_seed(0)
    block = LiGRBlock(8, 2, 8, 0.5, 1).double()
    with torch.no_grad():
        for layer in (block.query_key_value, block.attention_gate, block.feedforward_gate):
            layer.weight.zero_()
        block.query_key_value.bias.fill_(1.0)
        block.attention_output.weight.copy_(torch.eye(8))
        block.feedforward_output.weight.copy_(torch.eye(8))
    return block


def shares(block, kept):
    """The share of each size among what the block adds in training, in the unit of what it adds without."""
    events = torch.randn(400, 5, 8, dtype=torch.float64)
    plain = block.eval()(events) - events
    ratio = ((block.train()(events) - events) / plain).round(decimals=4)
    found = {size: float((ratio == size).double().mean()) for size in kept}
    assert sum(found.values()) == pytest.approx(1.0)
    return found


def test_dropout_takes_out_attention_weights():
    block = block_of_equal_events()
    torch.nn.init.zeros_(block.feedforward_output.weight)
    block.dropout.p = 0.0
    events = torch.randn(400, 5, 8, dtype=torch.float64)
    last = (block.train()(events) - events)[:, -1, ::4] / 0.5  # of five events, one component of each head
    assert set(last.round(decimals=4).flatten().tolist()) == {0.0, 0.4, 0.8, 1.2, 1.6, 2.0}
    assert float(last.detach().mean()) == pytest.approx(1.0, abs=0.06)


def test_dropout_takes_out_what_attention_adds():
    block = block_of_equal_events()
    torch.nn.init.zeros_(block.feedforward_output.weight)
    block.attention_dropout = 0.0
    assert shares(block, (0.0, 2.0))[2.0] == pytest.approx(0.5, abs=0.02)


def test_dropout_takes_out_hidden_units_and_what_the_feedforward_network_adds():
    block = block_of_equal_events()
    torch.nn.init.zeros_(block.attention_output.weight)
    assert shares(block, (0.0, 4.0))[4.0] == pytest.approx(0.25, abs=0.02)  # with the identity behind it


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_histories_longer_than_the_positions_are_refused(stage):
    model = small_model(max_length=4)
    with pytest.raises(ValueError, match="max_length=4 is less than the data's max_history=5: raise the one"):
        fit(model) if stage == "fit" else quiet_trainer().validate(model, ClusteredData(), verbose=False)


def test_a_model_without_data_reads_the_last_events():
    model = small_model(max_length=3)
    long, short = model.recommend([[1, 2, 3, 4, 5]], 20, False), model.recommend([[3, 4, 5]], 20, False)
    assert torch.equal(long[0], short[0])
    assert torch.equal(long[1], short[1])
