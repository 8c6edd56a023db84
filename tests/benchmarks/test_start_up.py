"""The measurement of the seconds until ``croloss`` answers."""

from __future__ import annotations

import re

import pytest

from benchmarks.start_up import __main__ as command
from benchmarks.start_up.protocol import measure
from tests.cli.cases import environment


@pytest.fixture(autouse=True)
def these_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


def test_a_command_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["start_up", "fitt", "--repeats", "1"])
    command.main()
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\| `fitt` \| \d+\.\d\d \| \d+\.\d\d \| 2 \|", lines[-1])
    assert len(lines) == 3


def test_each_run_is_measured() -> None:
    found = measure("--version", 2)
    assert (found.command, found.status) == ("--version", 0)
    assert len(found.wall) == len(found.process) == 2
    assert min(found.process) > 0


def test_no_repeats_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["start_up", "--repeats", "0"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--repeats must be at least 1" in capsys.readouterr().err
