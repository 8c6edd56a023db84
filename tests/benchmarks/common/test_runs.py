"""Runs of a comparison: executed once, resumed, tried again after a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.rows import failures_of, rows_of
from benchmarks.common.runs import execute, exit_status
from lightning_croloss.errors import DataError, NonFiniteLossError


def double(settings: dict[str, Any]) -> dict[str, Any]:
    with Path(settings["log"]).open("a") as log:
        log.write("x")
    return {"result": 2 * settings["number"]}


@pytest.mark.slow
def test_runs_are_executed_once_and_resumed(tmp_path: Path) -> None:
    path, log = tmp_path / "rows.jsonl", tmp_path / "log"
    runs = [{"number": number, "log": str(log)} for number in range(4)]
    execute(runs[:2], double, path, processes=1)
    assert log.read_text() == "xx"
    path.write_text(path.read_text() + '{"settings": {"numb')  # killed while writing
    with pytest.warns(UserWarning, match="line 3 breaks off"):
        assert len(rows_of(path)) == 2
    with pytest.warns(UserWarning, match="line 3 breaks off"):
        rows = execute([*runs, runs[0]], double, path, processes=2)
    assert log.read_text() == "xxxx"
    assert sorted(row["result"] for row in rows.values()) == [0, 2, 4, 6]
    assert rows == rows_of(path)
    assert [json.loads(line)["result"] for line in path.read_text().splitlines()][:2] == [0, 2]


def fail_at(settings: dict[str, Any]) -> dict[str, Any]:
    """Fail while the folder holds a file with the run's number, in the way that it names."""
    broken = Path(settings["folder"]) / str(settings["number"])
    with (Path(settings["folder"]) / "log").open("a") as log:
        log.write(str(settings["number"]))
    if broken.exists():
        raise {"loss": NonFiniteLossError, "data": DataError, "memory": MemoryError}[broken.read_text()](
            f"run {settings['number']} cannot end\nand this is why"
        )
    return {"result": settings["number"]}


@pytest.mark.parametrize("kind", ["loss", "data", "memory"])
@pytest.mark.slow
def test_a_run_that_fails_is_a_row_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path, log = tmp_path / "rows.jsonl", tmp_path / "log"
    runs = [{"number": number, "folder": str(tmp_path)} for number in range(4)]
    (tmp_path / "1").write_text(kind)
    rows = execute(runs, fail_at, path, processes=1)
    assert log.read_text() == "0123"
    assert [row["result"] for row in rows.values()] == [0, 2, 3]
    assert rows == rows_of(path)
    (failure,) = failures_of(path).values()
    assert failure["settings"] == runs[1]
    assert failure["error"] == "run 1 cannot end"
    assert (
        failure["error_type"]
        == {
            "loss": "NonFiniteLossError",
            "data": "DataError",
            "memory": "MemoryError",
        }[kind]
    )
    assert "FAILED" in capsys.readouterr().out
    assert exit_status(runs, path) == 1
    assert "1 of 4 runs failed" in capsys.readouterr().err
    assert exit_status(runs[2:], path) == 0  # nobody asked for it

    execute(runs, fail_at, path, processes=1)
    assert log.read_text() == "01231"  # only what failed is tried again
    assert exit_status(runs, path) == 1
    (tmp_path / "1").unlink()
    before = path.read_bytes()
    rows = execute(runs, fail_at, path, processes=1)
    assert sorted(row["result"] for row in rows.values()) == [0, 1, 2, 3]
    assert path.read_bytes().startswith(before)
    assert rows == rows_of(path)
    assert failures_of(path) == {}
    assert exit_status(runs, path) == 0


def interrupt(settings: dict[str, Any]) -> dict[str, Any]:
    if settings["number"] == 1:
        raise KeyboardInterrupt
    return {"result": 0}


def test_an_interruption_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        execute([{"number": number} for number in range(3)], interrupt, path, processes=1)
    assert [row["settings"]["number"] for row in rows_of(path).values()] == [0]
    assert failures_of(path) == {}
