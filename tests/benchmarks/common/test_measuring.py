"""How times and memory are measured, without timing anything."""

from __future__ import annotations

import pytest
import torch

from benchmarks.common.measuring import alternate, peak_memory, ratio


def test_every_side_runs_once_a_round_in_turn():
    calls = []
    seconds = alternate({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=3)
    assert calls == list("ab" * 4)  # the first round warms up
    assert {name: len(found) for name, found in seconds.items()} == {"a": 3, "b": 3}


def test_ratios_are_taken_within_rounds():
    assert ratio({"slow": [2.0, 40.0, 6.0], "fast": [1.0, 10.0, 3.0]}, "slow", "fast") == 2.0


def hold(mib):
    return lambda: torch.ones(mib * 2**18).sum()


@pytest.mark.slow
def test_peak_memory_sees_what_was_freed():
    assert 60 <= peak_memory(hold, 64) <= 100
