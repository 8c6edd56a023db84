"""Which process of a run tells a mistake."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lightning_croloss.cli import one_voice
from lightning_croloss.cli.lost_process import LostProcessError
from lightning_croloss.cli.one_voice import is_told_by_another

MISTAKE = ValueError("devices are too many")


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(one_voice, "_SECONDS", 0.3)
    monkeypatch.setattr(one_voice, "_PAUSE", 0.01)


def test_the_first_has_told_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parents: Iterator[int] = iter([7, 7, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    assert is_told_by_another(MISTAKE, parent=7)


def test_the_first_has_not_met_it() -> None:
    assert not is_told_by_another(MISTAKE, parent=os.getppid())


@pytest.mark.parametrize("name", ["the first", "alone"])
def test_the_first_tells_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "alone":
        monkeypatch.delenv("LOCAL_RANK")
    else:
        monkeypatch.setenv("LOCAL_RANK", "0")
    assert not is_told_by_another(MISTAKE, parent=-1)


def test_the_end_of_another_is_told_by_all() -> None:
    assert not is_told_by_another(LostProcessError("another process of this run has ended"), parent=-1)
