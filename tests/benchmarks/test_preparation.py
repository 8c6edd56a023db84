"""The measurement of preparing one's own table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.preparation import __main__ as command

polars = pytest.importorskip("polars")


def test_a_table_is_prepared_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {
        "user_id": [user for user in range(30) for _ in range(6)],
        "item_id": [event % 7 for event in range(180)],
        "timestamp": list(range(180)),
    }
    path = tmp_path / "events.parquet"
    polars.DataFrame(columns).write_parquet(path)
    monkeypatch.setattr("sys.argv", ["preparation", str(path), "--repeats", "2"])
    command.main()
    printed = capsys.readouterr().out
    assert printed.startswith("180 interactions, 30 users, 7 items\n")
    assert re.search(r"median \d+\.\d\d s\npeak memory: \d+ MiB, of which \d+ MiB before", printed)


def test_no_repeats_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["preparation", "events.parquet", "--repeats", "0"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--repeats must be at least 1" in capsys.readouterr().err
