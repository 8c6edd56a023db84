"""Tests of this folder work in a copy of what was kept, whose configs name their tables by relative paths."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.formats.kept import HERE, Run


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes a copy of a set the current folder."""

    def copy(folder: str) -> None:
        shutil.copytree(HERE / folder, tmp_path / folder)
        monkeypatch.chdir(tmp_path / folder)

    return copy


@pytest.fixture
def run(request: pytest.FixtureRequest, copied: Any) -> Run:
    """Return a run that was kept, in a copy of its set."""
    folder, _, name = request.param.partition("/")
    copied(folder)
    return Run(name)
