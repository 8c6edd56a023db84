"""A search that goes on with a record that something else has changed says so, whatever the change is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import tune_tables
from tests.cli.malformed_records import malformed
from tests.cli.tuning import NoMirrors, Pretended, pretended, tune, write

__all__ = ["pretended"]
pytestmark = pytest.mark.filterwarnings("ignore")
NUMBER = int(os.environ.get("CROLOSS_FUZZ_EXAMPLES", "3"))
#: What no command reads again: it is there for people and other programs.
UNREAD = {"test.json", "outcome.json", "seeds_n5.json"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_croloss.cli.tune.results.plot_curves", lambda *_, **__: None)
    monkeypatch.setattr("lightning_croloss.cli.tune.progress.Mirrors", NoMirrors)
    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.Mirrors", NoMirrors)


def check(again: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Change each record of the search of ``out``, and go on with it."""
    shutil.copytree("out", "whole")
    found = {path.name: path.read_text() for path in Path("whole").glob("best_*.yaml")}
    refused = set()
    for path, content, change in malformed(Path("whole"), NUMBER):
        shutil.rmtree("out")
        shutil.copytree("whole", "out")
        for made in Path("out").glob("best_*"):  # which are made of the records once more
            made.unlink()
        changed = Path("out", path.relative_to("whole"))
        changed.write_text(content)
        status = 0
        try:
            again()
        except SystemExit as ended:
            status = ended.code
        said = capsys.readouterr().err
        if status == 0:  # nothing of it was needed
            assert {made.name: made.read_text() for made in Path("out").glob("best_*.yaml")} == found, change
            continue
        assert status == 1, change
        assert f"{changed} is damaged, or was changed since it was written" in said, change
        refused.add(path.name)
    assert {path.name for path in Path("whole").rglob("*.json")} - refused <= UNREAD


def test_of_a_config(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*write(), "--n", "5", "--minutes", "60", "--output", "out", "--seeds", "3"]
    tune(*words)
    check(lambda: tune(*words), capsys)


def test_of_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polars", reason="needs the extra [tables]")
    pytest.importorskip("scipy", reason="item kNN needs scipy")
    tune_tables.write_tables()
    workers = tune_tables.Pretended()
    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.make_workers", lambda *_: workers)
    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.variants", lambda *_: [])
    words = ["--n", "5", "--output", "out", "--seeds", "3"]
    tune_tables.tune(*words, minutes=9)
    check(lambda: tune_tables.tune(*words, minutes=9), capsys)
