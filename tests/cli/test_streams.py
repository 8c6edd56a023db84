"""Commands whose output is closed early or cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_croloss.cli.streams import CLOSED
from tests.cli.cases import PACKAGES

# more than a pipe holds, so that it does not matter when it is closed
PRINTS = "for n in range(100_000): print('line', n)"
HELP = "parser = __import__('argparse').ArgumentParser(epilog='x ' * 100_000); parser.parse_args(['--help'])"
FAILS = "print('a line ' * 100_000); sys.exit(3)"
ENDS_ALONE = "print('a line')"
TO_STDERR = "for n in range(100_000): print('line', n, file=sys.stderr)"


@pytest.fixture(autouse=True, params=["", "1"], ids=["buffered", "unbuffered"])
def unbuffered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)
    return bool(request.param)


def run(code: str, redirection: str) -> tuple[int, str]:
    """Run Python code as the command does its own; return the status, and what came on standard error."""
    whole = (
        "import sys\n"
        "from lightning_croloss.cli.streams import standard_streams\n"
        f"with standard_streams():\n    {code}\n"
    )
    script = f'"$0" -c "$1" {redirection}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, whole],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": PACKAGES},
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("code", "statuses"), [(PRINTS, {CLOSED}), (HELP, {CLOSED, 0}), (FAILS, {CLOSED, 3})]
)
def test_a_closed_pipe(code: str, statuses: set[int]) -> None:
    status, said = run(code, "| true")
    assert status in statuses
    assert said == ""


def test_standard_error_as_a_closed_pipe() -> None:
    assert run(TO_STDERR, "2>&1 >/dev/null | true") == (CLOSED, "")


@pytest.mark.parametrize("code", [PRINTS, ENDS_ALONE])
def test_a_full_disk(code: str) -> None:
    assert run(code, ">/dev/full") == (
        1,
        "croloss: error: standard output: No space left on device\n",
    )


def test_a_full_disk_of_standard_error_too() -> None:
    assert run(ENDS_ALONE, ">/dev/full 2>/dev/full") == (1, "")


def test_closed_streams_lend_their_numbers_to_no_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    code = (
        f"sys.stderr.isatty(); file = open({str(file)!r}, 'w'); print('out'); "
        "print('error', file=sys.stderr); sys.stdin.read(); file.write('own')"
    )
    assert run(code, "<&- >&- 2>&-") == (0, "")
    assert file.read_text() == "own"


def test_another_error_passes(tmp_path: Path) -> None:
    status, said = run(f"open({str(tmp_path / 'none')!r})", "")
    assert status == 1
    assert "FileNotFoundError" in said


@pytest.mark.parametrize("words", ["--help", "fit --help", "recommend --help", "zoo list"])
def test_the_commands(words: str) -> None:
    script = f'"$0" -m lightning_croloss {words}'
    full, closed = (
        subprocess.run(
            ["bash", "-c", f"{script} {end}", sys.executable],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": PACKAGES},
            check=False,
        )
        for end in ("> /dev/full", "| true; exit ${PIPESTATUS[0]}")
    )
    assert full.returncode == 1
    assert full.stderr == "croloss: error: standard output: No space left on device\n"
    assert closed.returncode in (0, CLOSED)
    assert closed.stderr == ""
