"""Processes side by side: what fails, dies or is interrupted."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.processes import run_all
from benchmarks.common.rows import Row


def work(settings: dict[str, Any]) -> dict[str, Any]:
    what = settings["what"]
    if what == "raise":
        raise RuntimeError("no luck\nsecond line")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "gone":
        os._exit(3)
    if what == "exit":
        sys.exit(4)
    if what == "no JSON":
        return {"result": {1, 2}}
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "Ctrl-C":  # as a terminal does: the parent and this process
        os.kill(os.getppid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(settings["log"]).write_text(str(os.getpid()))
        time.sleep(600)
    if what == "deaf is there":
        while not Path(settings["log"]).exists():
            time.sleep(0.05)
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(600)
    return {"result": os.getpid()}


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """Hear SIGINT also where the shell that began the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.slow
def test_every_run_ends_in_a_row_whatever_the_others_do(processes: int) -> None:
    whats = ["fine", "raise", "killed", "fine again", "gone", "exit", "no JSON", "fine at last"]
    rows = {row["settings"]["what"]: row for row in run_all([{"what": w} for w in whats], work, processes)}
    assert sorted(rows) == sorted(whats)
    for what in whats:
        assert ("result" in rows[what]) == what.startswith("fine") == ("error" not in rows[what])
    assert (rows["raise"]["error_type"], rows["raise"]["error"]) == ("RuntimeError", "no luck")
    assert rows["killed"]["error_type"] == rows["gone"]["error_type"] == "ChildProcessError"
    assert rows["killed"]["error"] == (
        "the process of the run was ended by signal 9 (Killed), as the system does when memory runs out"
    )
    assert rows["gone"]["error"] == "the process of the run ended with status 3 and no result"
    assert (rows["exit"]["error_type"], rows["exit"]["error"]) == ("SystemExit", "4")
    assert rows["no JSON"]["error_type"] == "TypeError"


def test_a_process_is_used_again_until_a_run_fails() -> None:
    whats = ["fine", "fine too", "raise", "fine at last"]
    first, second, _, last = run_all([{"what": what} for what in whats], work, 1)
    assert first["result"] == second["result"] != last["result"]


@pytest.mark.parametrize("what", ["interrupt", "Ctrl-C"])
def test_an_interruption_stops_at_once(what: str) -> None:
    ended: list[Row] = []
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ended.extend(run_all([{"what": "fine"}, {"what": what}, {"what": "fine too"}], work, 1))
    assert [row["settings"]["what"] for row in ended] == ["fine"]
    assert time.monotonic() - begin < 60


@pytest.mark.slow
def test_what_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "pid"
    with pytest.raises(KeyboardInterrupt):
        list(run_all([{"what": what, "log": str(log)} for what in ("deaf", "deaf is there")], work, 2))
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)
