"""The benchmark of a large catalogue runs, in small."""

import json
import sys

import pytest

from benchmarks.scale import __main__ as command
from benchmarks.scale import protocol


def test_events_have_structure():
    users, items = protocol.draw_events(5000, 20_000)
    assert len(users) == len(items) == 20_000
    assert items.max() < 5000
    groups = items.reshape(-1, protocol.LENGTH) // protocol.GROUP
    assert max(len(set(row)) for row in groups.tolist()) <= 3
    assert (items % protocol.GROUP == 0).mean() > 5 * (items % protocol.GROUP == 100).mean()


@pytest.mark.slow
def test_a_small_run_is_measured_and_written(tmp_path, monkeypatch, capsys):
    arguments = ["--items=3000", "--interactions=20000", "--steps=30", f"--output={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["scale", *arguments])
    command.main()
    row = json.loads((tmp_path / "scale.json").read_text())
    assert row["items"] == 3000
    assert row["samples_per_second"] > 0
    assert 0.0 < row["imports_gib"] <= row["prepared_gib"] <= row["peak_gib"]
    assert 0.0 < row["recall@500"] <= 1.0
    assert "samples a second" in capsys.readouterr().out
