"""The comparison of LazyAdam with AdamW: its command where runs fail, and its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.rows import rows_of
from benchmarks.lazy_adam import __main__ as command
from benchmarks.lazy_adam.protocol import runs
from benchmarks.lazy_adam.report import report
from tests.benchmarks.failing_work import failing_work


def test_the_committed_table_is_that_of_the_committed_rows() -> None:
    rows = rows_of(command.RESULTS / "rows.jsonl")
    assert len(rows) == len(runs()) == 12
    assert report(rows) == (command.RESULTS / "results.md").read_text()


def test_a_failed_run_is_listed_and_left_out_of_the_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "work", failing_work)
    monkeypatch.setattr("sys.argv", ["lazy_adam", "--data", str(tmp_path), "--processes", "1"])
    (tmp_path / "broken").touch()
    assert command.main() == 1
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert [line.count("10.00 ± 0.00") for line in lines if line.startswith("| ciao")] == [4, 4]
    assert [line.count("36.67 ± 46.19") for line in lines if line.startswith("| ml-100k")] == [4, 4]
    assert "| data ciao, sparse True, seed 2 | ValueError | the table is broken |" in lines
    assert "## Failed runs" in lines

    monkeypatch.setattr("sys.argv", ["lazy_adam", "--report"])
    assert command.main() == 0  # nothing was run
    assert (tmp_path / "results.md").read_text().splitlines() == lines

    (tmp_path / "broken").unlink()
    monkeypatch.setattr("sys.argv", ["lazy_adam", "--data", str(tmp_path), "--processes", "1"])
    assert command.main() == 0
    assert "Failed" not in (tmp_path / "results.md").read_text()
