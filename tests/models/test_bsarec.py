"""BSARec: its filter against a Fourier transform, its blocks by plain loops, and every argument."""

import math
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import BSARec
from lightning_croloss.models.layers.frequency import FrequencyFilter, lowest_frequencies
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import FOR_HISTORY, ArgumentTests, Outcomes
from tests.models.naive_attention import naive_attention
from tests.models.sequences import batch_of, small_sequence_model


def small_model(**arguments):
    return small_sequence_model(BSARec, **arguments)


class TestArguments(ArgumentTests):
    outcome = Outcomes(BSARec, feedforward_dim=16, max_length=10)
    refused = ("train_on",)
    cases: ClassVar = {
        **FOR_HISTORY,
        "num_blocks": ({}, 1),
        "num_heads": ({}, 4),
        "feedforward_dim": ({}, 12),
        "dropout": ({}, 0.2),
        "alpha": ({}, 0.2),
        "num_frequencies": ({}, 1),
        "max_length": ({"max_length": 5}, 6),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"num_heads": 3}, "num_heads=3 must divide embedding_dim=8"),
        ({"feedforward_dim": 0}, "feedforward_dim must be at least 1, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"alpha": 1.5}, "alpha must be at least 0 and at most 1, got 1.5"),
        ({"num_frequencies": 0}, "num_frequencies must be at least 1, got 0"),
        (
            {"num_frequencies": 12},
            "num_frequencies=12 must be at most 11, of which a sequence of",
        ),
        (
            {"train_on": "all"},
            'BSARec sees later events of a history, the very targets of train_on="all": train it with '
            'train_on="last"',
        ),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


def fourier_filter(layer, events, length, num_frequencies):
    """Filter a list of events by a fast Fourier transform of the sequence, padded on the left."""
    padded = torch.stack([torch.zeros_like(events[0])] * (length - len(events)) + list(events))
    spectrum = torch.fft.rfft(padded, dim=0)
    spectrum[num_frequencies:] = 0
    low = torch.fft.irfft(spectrum, n=length, dim=0)
    return list(low + layer.root_of_scale**2 * (padded - low))[length - len(events) :]


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_the_filter_rescales_what_a_fourier_transform_calls_high(length):
    torch.manual_seed(0)
    for num_frequencies in range(1, length // 2 + 2):
        layer = FrequencyFilter(3, length, num_frequencies).double()
        for count in range(1, length + 1):
            events = torch.randn(2, count, 3, dtype=torch.float64)
            for row, found in zip(events, layer(events), strict=True):
                expected = torch.stack(fourier_filter(layer, list(row), length, num_frequencies))
                torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_the_lowest_frequencies_are_waves_by_plain_arithmetic():
    basis = lowest_frequencies(6, 4)
    assert basis.shape == (6, 6)  # all there are
    for position in range(6):
        turn = 2 * math.pi * position / 6
        expected = [math.sqrt(1 / 6)]
        for frequency in (1, 2):
            expected += [math.sqrt(1 / 3) * wave(frequency * turn) for wave in (math.cos, math.sin)]
        expected.append(math.sqrt(1 / 6) * math.cos(3 * turn))
        assert basis[position].tolist() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(basis.T @ basis, torch.eye(6).double(), atol=1e-12, rtol=0)


def test_with_all_frequencies_there_is_nothing_to_rescale():
    layer, events = FrequencyFilter(4, 7, 4), torch.randn(3, 7, 4)
    torch.testing.assert_close(layer(events), events)
    assert not torch.allclose(FrequencyFilter(4, 7, 3)(events), events)


def naive_block(block, events, alpha, length, num_frequencies):
    """One block on a list of events."""
    filtered = fourier_filter(block.filter, events, length, num_frequencies)
    attended = naive_attention(block, events)
    mixed = [
        alpha * block.filter_norm(event + low) + (1 - alpha) * block.attention_norm(event + added)
        for event, low, added in zip(events, filtered, attended, strict=True)
    ]
    hidden = [block.feedforward_input(event) for event in mixed]
    hidden = [value * (1 + torch.erf(value / math.sqrt(2))) / 2 for value in hidden]
    return [
        block.feedforward_norm(event + block.feedforward_output(value))
        for event, value in zip(mixed, hidden, strict=True)
    ]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_user_is_the_last_output_of_the_mixed_blocks(similarity, alpha):
    model = small_model(similarity=similarity, alpha=alpha, num_frequencies=4, max_length=9).eval()
    with torch.no_grad():
        for value in model.blocks.parameters():
            value.add_(torch.randn_like(value) * 0.2)
    events = [
        model.input_norm(model.item_embedding.weight[item] * 8**0.5 + model.place_embedding.weight[position])
        for item, position in zip((7, 3, 9, 3), (3, 2, 1, 0), strict=True)
    ]
    for block in model.blocks:
        events = naive_block(block, events, alpha, 9, 4)
    expected = functional.normalize(events[-1], dim=-1) if similarity == "cosine" else events[-1]
    found = model.encode_users(batch_of([0, 0, 7, 3, 9, 3]))
    assert found.shape == (1, 1, 8)
    torch.testing.assert_close(found[0, 0], expected)


def test_the_output_depends_on_the_length_of_the_transform_and_not_on_padding():
    vectors = []
    for max_length in (6, 12):
        model = small_model(max_length=12).eval()
        for block in model.blocks:
            block.filter.basis = lowest_frequencies(max_length, 3).float()
        short = model.encode_users(batch_of([1, 2, 3]))
        torch.testing.assert_close(model.encode_users(batch_of([0, 0, 0, 1, 2, 3])), short)
        vectors.append(short)
    assert not torch.allclose(*vectors, atol=1e-3)


def test_the_filter_lets_a_state_see_later_events():
    model = small_model(num_blocks=1, dropout=0.0)
    one, other = (model._read(batch_of(history))[0][0, 0] for history in ([1, 2, 3], [1, 2, 4]))
    assert not torch.allclose(one, other, atol=1e-4)
    model.blocks[0].alpha = 0.0
    one, other = (model._read(batch_of(history))[0][0, 0] for history in ([1, 2, 3], [1, 2, 4]))
    torch.testing.assert_close(one, other)


def test_the_basis_is_that_of_the_type_and_the_device_wherever_the_filter_went_before():
    exact = lowest_frequencies(7, 3)
    layer = FrequencyFilter(4, 7, 3)
    assert torch.equal(layer.basis, exact.float())
    assert torch.equal(layer.half().basis, exact.half())
    assert torch.equal(layer.double().basis, exact)
    with torch.device("meta"):
        layer = FrequencyFilter(4, 7, 3)
    assert layer.basis.is_meta
    assert torch.equal(layer.to_empty(device="cpu").basis, exact.float())


def test_the_basis_is_no_part_of_a_state_dictionary():
    assert not any("basis" in name for name in small_model().state_dict())


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_histories_longer_than_the_positions_are_refused(stage):
    model = small_model(max_length=4)
    with pytest.raises(ValueError, match="max_length=4 is less than the data's max_history=5: raise the one"):
        fit(model) if stage == "fit" else quiet_trainer().validate(model, ClusteredData(), verbose=False)


def test_a_model_without_data_reads_the_last_events():
    model = small_model(max_length=4)
    long, short = model.recommend([[1, 2, 3, 4, 5]], 20, False), model.recommend([[2, 3, 4, 5]], 20, False)
    assert torch.equal(long[0], short[0])
    assert torch.equal(long[1], short[1])
