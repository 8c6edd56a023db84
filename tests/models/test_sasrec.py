"""SASRec: its attention by plain loops, its positions, and every argument."""

from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import SASRec
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import FOR_SEQUENCES, ArgumentTests, Outcomes
from tests.models.naive_attention import naive_attention
from tests.models.sequences import batch_of, small_sequence_model


def small_model(**arguments):
    return small_sequence_model(SASRec, **arguments)


class TestArguments(ArgumentTests):
    outcome = Outcomes(SASRec, feedforward_dim=16, max_length=10)
    cases: ClassVar = {
        **FOR_SEQUENCES,
        "num_blocks": ({}, 1),
        "num_heads": ({}, 4),
        "feedforward_dim": ({}, 12),
        "dropout": ({}, 0.5),
        "max_length": ({"max_length": 5}, 6),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
        ({"num_heads": 3}, "num_heads=3 must divide embedding_dim=8"),
        ({"feedforward_dim": 0}, "feedforward_dim must be at least 1, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"train_on": "al"}, "unknown train_on 'al'; did you mean 'all'?"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


def naive_block(block, events):
    """One block on a list of events."""
    attended = naive_attention(block, [block.attention_norm(event) for event in events])
    outputs = [event + added for event, added in zip(events, attended, strict=True)]
    return [
        event + block.feedforward_output(block.feedforward_input(block.feedforward_norm(event)).relu())
        for event in outputs
    ]


def naive_output(model, items, positions):
    """The output at the last of the items."""
    events = [
        model.item_embedding.weight[item] * 8**0.5 + model.place_embedding.weight[position]
        for item, position in zip(items, positions, strict=True)
    ]
    for block in model.blocks:
        events = naive_block(block, events)
    return model.output_norm(events[-1])


@pytest.mark.parametrize(("train_on", "positions"), [("last", [3, 2, 1, 0]), ("all", [0, 1, 2, 3])])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_user_is_the_last_output_of_causal_attention(train_on, positions, similarity):
    model = small_model(train_on=train_on, similarity=similarity).eval()
    expected = naive_output(model, (7, 3, 9, 3), positions)
    if similarity == "cosine":
        expected = functional.normalize(expected, dim=-1)
    found = model.encode_users(batch_of([0, 0, 7, 3, 9, 3]))
    assert found.shape == (1, 1, 8)
    torch.testing.assert_close(found[0, 0], expected)


@pytest.mark.parametrize("train_on", ["last", "all"])
def test_dropped_events_leave_gaps_in_the_places(train_on):
    """Else training with many of them would leave the positions of long histories untrained."""
    model = small_model(train_on=train_on, similarity="dot", history_dropout=0.5, dropout=0.0).train()
    history = [0, 1, 2, 3, 4, 5, 6]
    torch.manual_seed(1)
    dropped = torch.rand(1, 7)[0] < 0.5
    left = [position for position in range(1, 7) if not dropped[position]]
    assert left[0] > 1
    assert len(left) < left[-1] - left[0] + 1  # one of them in the middle
    torch.manual_seed(1)
    found = model.encode_users(batch_of(history))[0, 0]
    positions = [6 - position if train_on == "last" else position - 1 for position in left]
    torch.testing.assert_close(
        found, naive_output(model, [history[position] for position in left], positions)
    )


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_histories_longer_than_the_places_are_refused(stage):
    model = small_model(max_length=4)
    with pytest.raises(ValueError, match="max_length=4 is less than the data's max_history=5: raise the one"):
        fit(model) if stage == "fit" else quiet_trainer().validate(model, ClusteredData(), verbose=False)
    fit(small_model(max_length=5), limit_train_batches=1)


def test_a_model_without_data_reads_the_last_events():
    model = small_model(max_length=3)
    long, short = model.recommend([[1, 2, 3, 4, 5]], 20, False), model.recommend([[3, 4, 5]], 20, False)
    assert torch.equal(long[0], short[0])
    assert torch.equal(long[1], short[1])


def test_the_order_of_events_matters_by_their_places_too():
    """One block, one head: without positions, attention would not tell the order of the earlier events."""
    model = small_model(num_blocks=1).eval()
    first, second = (model.recommend([history], 9, False)[1] for history in ([1, 2, 3], [2, 1, 3]))
    assert not torch.allclose(first, second, atol=1e-4)
    with torch.no_grad():
        model.place_embedding.weight.zero_()
    first, second = (model.recommend([history], 9, False)[1] for history in ([1, 2, 3], [2, 1, 3]))
    torch.testing.assert_close(first, second)
