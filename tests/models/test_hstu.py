"""HSTU: pointwise aggregated attention by plain loops, with times and without, and every argument."""

import math
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import HSTU
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.data.batch import EventValues
from lightning_croloss.models.layers.time_buckets import NUM_BUCKETS, time_buckets
from tests.data_for_tests import ClusteredData, EventData, fit
from tests.models.cases import FOR_SEQUENCES, ArgumentTests, Outcomes
from tests.models.sequences import small_sequence_model

ITEMS, TIMES = [7, 3, 9, 3], [100, 100, 4_000, 9_000_000_000]


def small_model(**arguments):
    return small_sequence_model(HSTU, **arguments)


def timed(items, times, padding=0):
    """Make a batch of one history whose events have times; None for none."""
    history = functional.pad(torch.tensor([items]), (padding, 0))
    events = None if times is None else EventValues(functional.pad(torch.tensor([times]), (padding, 0)), [])
    return RetrievalBatch(history, history[:, -1:], torch.ones(1, dtype=torch.long), events=events)


class TestArguments(ArgumentTests):
    outcome = Outcomes(HSTU, max_length=10)
    cases: ClassVar = {
        **FOR_SEQUENCES,
        "num_blocks": ({}, 1),
        "num_heads": ({}, 4),
        "dropout": ({}, 0.5),
        "max_length": ({"max_length": 5}, 6),
        "use_times": ({}, False),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"num_heads": 3}, "num_heads=3 must divide embedding_dim=8"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


def silu(value):
    return value / (1 + math.exp(-value))


def naive_block(block, events, times, num_positions):
    """What a block makes of events (D,), by loops over pairs of events and over heads."""
    size = events[0].shape[0]
    width = size // block.num_heads
    mapped = []
    for event in events:
        line = block.gate_value_query_key.weight @ block.input_norm(event) + block.gate_value_query_key.bias
        mapped.append([torch.tensor([silu(value) for value in part.tolist()]) for part in line.chunk(4)])
    outputs = []
    for i, event in enumerate(events):
        total = torch.zeros(size)
        for head in range(block.num_heads):
            part = slice(head * width, (head + 1) * width)
            for j in range(i + 1):
                logit = float(mapped[i][2][part] @ mapped[j][3][part])
                logit += float(block.position_bias[min(i - j, num_positions - 1)])
                if times is not None:
                    bucket = int(math.log(max(1, abs(times[i] - times[j]))) / 0.301)
                    logit += float(block.time_bias[min(bucket, 127)])
                total[part] += silu(logit) / num_positions * mapped[j][1][part]
        gated = block.aggregate_norm(total) * mapped[i][0]
        outputs.append(event + block.output_map.weight @ gated + block.output_map.bias)
    return outputs


@pytest.mark.parametrize("times", [TIMES, None], ids=["times", "positions alone"])
@pytest.mark.parametrize(("train_on", "positions"), [("last", [3, 2, 1, 0]), ("all", [0, 1, 2, 3])])
def test_the_user_is_the_last_output_of_pointwise_attention(times, train_on, positions):
    model = small_model(train_on=train_on, similarity="dot", max_length=9).eval()
    with torch.no_grad():
        for value in model.blocks.parameters():
            value.add_(torch.randn_like(value) * 0.3)
    events = [
        model.item_embedding.weight[item] * 8**0.5 + model.place_embedding.weight[position]
        for item, position in zip(ITEMS, positions, strict=True)
    ]
    for block in model.blocks:
        events = naive_block(block, events, times, 9)
    for padding in (0, 3):
        found = model.encode_users(timed(ITEMS, times, padding))
        assert found.shape == (1, 1, 8)
        torch.testing.assert_close(found[0, 0], model.output_norm(events[-1]), atol=1e-5, rtol=1e-5)


def test_spans_of_time_are_told_apart_by_their_size():
    spans = torch.tensor([0, 1, 2, -60, 3_600, 86_400, 2**62, -(2**62)])
    assert time_buckets(spans).tolist() == [0, 0, 2, 13, 27, 37, NUM_BUCKETS - 1, NUM_BUCKETS - 1]
    everything = time_buckets(torch.arange(1, 10_000))
    assert bool((everything.diff() >= 0).all())
    assert everything.tolist() == [int(math.log(span) / 0.301) for span in range(1, 10_000)]


def test_times_count_by_their_differences_and_only_if_they_are_used():
    model = small_model().eval()
    plain = model.encode_users(timed(ITEMS, TIMES))
    torch.testing.assert_close(model.encode_users(timed(ITEMS, [time + 10**15 for time in TIMES])), plain)
    assert not torch.equal(model.encode_users(timed(ITEMS, [0, 1, 2, 3])), plain)
    assert not torch.equal(model.encode_users(timed(ITEMS, None)), plain)
    without = small_model(use_times=False).eval()
    assert all("time_bias" not in name for name, _ in without.named_parameters())
    expected = without.encode_users(timed(ITEMS, None))
    assert torch.equal(without.encode_users(timed(ITEMS, TIMES)), expected)


def test_a_target_is_told_from_the_events_before_it_alone():
    model = small_model(train_on="all", dropout=0.0)
    batch = timed(ITEMS, TIMES)
    batch.targets = torch.tensor([[3, 9, 3, 5]])
    users, flat = model.training_users(batch)
    assert flat.events.times.flatten().tolist() == TIMES
    for position, user in enumerate(users):
        expected = model.encode_users(timed(ITEMS[: position + 1], TIMES[: position + 1]))
        torch.testing.assert_close(user, expected[0], atol=1e-6, rtol=1e-5)


def test_dropped_events_take_their_times_along():
    model = small_model(history_dropout=0.5, dropout=0.0).train()
    torch.nn.init.zeros_(model.place_embedding.weight)  # in which dropped events leave gaps
    for block in model.blocks:
        torch.nn.init.zeros_(block.position_bias)  # the same
    torch.manual_seed(1)
    kept = (torch.rand(1, 4) >= 0.5)[0].tolist()
    assert 0 < sum(kept) < 4
    torch.manual_seed(1)
    found = model.encode_users(timed(ITEMS, TIMES))
    left = [index for index in range(4) if kept[index]]
    alone = timed([ITEMS[index] for index in left], [TIMES[index] for index in left])
    torch.testing.assert_close(found, model.eval().encode_users(alone))


@pytest.mark.parametrize("data", [EventData, ClusteredData])
def test_times_are_learned_where_the_data_has_them(data):
    model = small_model()
    before = model.blocks[0].time_bias.clone()
    fit(model, data(), limit_train_batches=2)
    has_times = data is EventData
    assert model.metadata.events.times == ("numbers" if has_times else None)
    assert model.blocks[0].time_bias.requires_grad == has_times
    assert torch.equal(model.blocks[0].time_bias, before) != has_times
    if not has_times:
        assert model.recommend([[1, 2]], 5)[0].shape == (1, 5)


def test_what_is_frozen_stays_frozen():
    """What only times train is switched off without them, and never on but with them."""
    model = small_model()
    first, second = (block.time_bias for block in model.blocks)
    first.requires_grad_(False)
    fit(model, ClusteredData(), limit_train_batches=1)
    assert not any(bias.requires_grad for bias in (first, second))
    model.setup("fit")
    assert not any(bias.requires_grad for bias in (first, second))
    fit(small := small_model(), ClusteredData(), limit_train_batches=1)
    assert not any(block.time_bias.requires_grad for block in small.blocks)


def test_times_train_what_was_without_them():
    model = small_model()
    first, second = (block.time_bias for block in model.blocks)
    first.requires_grad_(False)
    model._without_times = [second.requires_grad_(False)]
    before = first.clone(), second.clone()
    fit(model, EventData(), limit_train_batches=2)
    assert second.requires_grad
    assert torch.equal(first, before[0])
    assert not torch.equal(second, before[1])
