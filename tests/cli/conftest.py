"""Every command of these tests runs in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(results: object, path: Path, title: str = "") -> None:
        path.touch()

    monkeypatch.setattr("lightning_croloss.callbacks.recall_report.plot_metrics_against_n", touch)
