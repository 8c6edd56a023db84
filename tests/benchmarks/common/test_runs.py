"""Runs of a comparison: executed once, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common.rows import rows_of
from benchmarks.common.runs import execute


def double(settings: dict[str, Any]) -> dict[str, Any]:
    with Path(settings["log"]).open("a") as log:
        log.write("x")
    return {"result": 2 * settings["number"]}


def test_runs_are_executed_once_and_resumed(tmp_path: Path) -> None:
    path, log = tmp_path / "rows.jsonl", tmp_path / "log"
    runs = [{"number": number, "log": str(log)} for number in range(4)]
    execute(runs[:2], double, path, processes=1)
    assert log.read_text() == "xx"
    path.write_text(path.read_text() + '{"settings": {"numb')  # killed while writing
    assert len(rows_of(path)) == 2
    rows = execute([*runs, runs[0]], double, path, processes=2)
    assert log.read_text() == "xxxx"
    assert sorted(row["result"] for row in rows.values()) == [0, 2, 4, 6]
    assert rows == rows_of(path)
    assert [json.loads(line)["result"] for line in path.read_text().splitlines()][:2] == [0, 2]
