"""Every command of these tests runs in a folder of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def heeding_signals() -> Iterator[None]:
    """Let signals end the tests: in the background a process ignores SIGINT, and under nohup SIGHUP."""
    usual = {signal.SIGINT: signal.default_int_handler}
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, usual.get(number, signal.SIG_DFL)) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(results: object, path: Path, title: str = "") -> None:
        path.touch()

    monkeypatch.setattr("lightning_croloss.callbacks.recall_report.plot_metrics_against_n", touch)
