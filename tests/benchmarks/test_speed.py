"""What the speed benchmark reports, without timing anything."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.speed import __main__ as command
from benchmarks.speed import loss
from benchmarks.speed.measuring import alternate, peak_memory, ratio


def test_every_side_runs_once_a_round_in_turn():
    calls = []
    seconds = alternate({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=3)
    assert calls == list("ab" * 4)  # the first round warms up
    assert {name: len(found) for name, found in seconds.items()} == {"a": 3, "b": 3}


def test_ratios_are_taken_within_rounds():
    assert ratio({"slow": [2.0, 40.0, 6.0], "fast": [1.0, 10.0, 3.0]}, "slow", "fast") == 2.0


def hold(mib):
    return lambda: torch.ones(mib * 2**18).sum()


def test_peak_memory_sees_what_was_freed():
    assert 60 <= peak_memory(hold, 64) <= 100


def test_the_command_writes_figures_table_and_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loss, "SIZES", ((8, 40),))
    monkeypatch.setattr(loss, "GROWTH", {"M": [(8, 40), (8, 80)], "B": [(8, 40), (16, 40)]})
    monkeypatch.setattr(loss, "peak_memory", lambda *arguments: 3.0)
    monkeypatch.setattr(
        "sys.argv", ["speed", "--sections", "loss", "--quick", "--repeats", "1", "--output", str(tmp_path)]
    )
    command.main()
    record = json.loads((tmp_path / "loss.json").read_text())
    assert {row["loss"] for row in record["rows"]["time"]} == set(loss.LOSSES)
    assert all(row["naive / fused"] > 0 for row in record["rows"]["time"])
    assert record["machine"]["torch"] == torch.__version__
    assert (tmp_path / "loss.md").read_text() == capsys.readouterr().out[:-1]
    assert (tmp_path / "loss_growth.png").stat().st_size > 0


def test_an_unknown_section_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["speed", "--sections", "lose"])
    with pytest.raises(SystemExit):
        command.main()
    assert "unknown section 'lose': choose of loss" in capsys.readouterr().err


def test_sides_compute_the_same():
    inputs = loss.embeddings(6, 30)
    for name in loss.LOSSES:
        gradients = []
        for fused in (True, False):
            loss.step(name, fused, inputs)()
            gradients.append([entry.grad for entry in inputs])
        torch.testing.assert_close(*gradients)
