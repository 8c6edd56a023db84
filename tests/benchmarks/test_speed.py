"""What the speed benchmark reports, without timing anything."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.speed import __main__ as command
from benchmarks.speed import cross_entropy, loss, sampled


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


@pytest.mark.parametrize("what", ["in_batch", "from_logits"])
def test_every_side_of_cross_entropy_runs(what):
    sides = getattr(cross_entropy, what)(6, 6, 1)
    assert list(sides) == ["cross_entropy", *cross_entropy.KERNELS]
    for side in sides.values():
        side()


def test_a_checkout_is_timed_beside_another(tmp_path, monkeypatch, capsys):
    arguments = ["--sections", "sampled", "--quick", "--repeats", "1", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["speed", *arguments, "--before", str(sampled.ROOT)])
    command.main()
    rows = json.loads((tmp_path / "sampled.json").read_text())["rows"]
    assert [row["side"] for row in rows] == ["now", "before"]
    assert all(row["s"] > 0 for row in rows)
    assert "times faster than before" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["speed", *arguments, "--before", str(tmp_path)])
    with pytest.raises(SystemExit):
        command.main()
    assert "is no checkout of this repository" in capsys.readouterr().err


def test_a_checkout_that_cannot_train_is_told(tmp_path):
    with (
        pytest.raises(RuntimeError, match="ended: try"),
        sampled.worker(tmp_path, tmp_path / "none.parquet", 3) as take,
    ):
        take(1)
