"""What killed processes leave, and who holds what."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from lightning_croloss.common import files, locks, uninterrupted
from lightning_croloss.common.files import output_file, replacing, replacing_folder, write_atomically
from lightning_croloss.common.locks import claimed

KILLED = """
import os, signal, sys
from pathlib import Path
from lightning_croloss.common import files
path = Path(sys.argv[2])
if sys.argv[1] == "file":
    with files.output_file(path, True), files.replacing(path) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
files.exchanged = lambda first, second: sys.argv[1] == "exchange" and os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "between":
    rename = os.replace
    files.os.replace = lambda first, second: [rename(first, second), os.kill(os.getpid(), signal.SIGKILL)]
with files.replacing_folder(path, overwrite=True) as folder:
    (folder / "w").write_text("new")
    if sys.argv[1] == "filling":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(how: str, path: Path) -> None:
    """Write ``path`` in a process that is killed meanwhile."""
    ended = subprocess.run([sys.executable, "-c", KILLED, how, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL


def test_what_a_killed_process_leaves_of_a_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")
    killed("file", path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3  # and half a file, and a lock
    with output_file(path, overwrite=True), replacing(path) as temporary:
        temporary.write_text("new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("how", ["filling", "between", "exchange"])
def test_what_a_killed_process_leaves_of_a_folder(tmp_path: Path, how: str) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "w").write_text("old")
    killed(how, path)
    assert path.exists() == (how != "between")
    with pytest.raises(FileExistsError, match="exists"), replacing_folder(path):
        raise AssertionError("not reached")
    assert (path / "w").read_text() == "old"
    with replacing_folder(path, overwrite=True) as folder:
        (folder / "w").write_text("next")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert (path / "w").read_text() == "next"


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("how", ["signal", KeyboardInterrupt, OSError, SystemExit])
def test_an_interrupt_loses_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: type[BaseException] | str, at: int
) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "w").write_text("old")
    rename, calls = os.replace, []

    def replace(first: Path, second: Path) -> None:
        rename(first, second)
        calls.append(second)
        if len(calls) == at:
            if not isinstance(how, str):
                raise how
            os.kill(os.getpid(), signal.SIGINT)

    def write(text: str) -> None:
        with replacing_folder(path, overwrite=True) as folder:
            (folder / "w").write_text(text)

    monkeypatch.setattr(files, "exchanged", lambda first, second: False)
    monkeypatch.setattr(os, "replace", replace)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt if isinstance(how, str) else how):
            write("new")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (path / "w").read_text() == ("old" if at == 1 and how != "signal" else "new")
    write("next")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert (path / "w").read_text() == "next"


def test_a_file_that_is_being_written_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with replacing(path) as first:
        first.write_text("first")
        write_atomically(path, b"second")
        with replacing(path) as third:
            third.write_text("third")
        assert path.read_text() == "third"
    assert [file.read_text() for file in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("write", [output_file, replacing_folder])
def test_of_two_jobs_with_one_output_the_second_is_told(
    tmp_path: Path, write: object, overwrite: bool
) -> None:
    said: list[BaseException] = []

    def other() -> None:
        try:
            with write(tmp_path / "output", overwrite):  # type: ignore[operator]
                raise AssertionError("not reached")
        except FileExistsError as error:
            said.append(error)

    with write(tmp_path / "output", overwrite):  # type: ignore[operator]
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with claimed(tmp_path / "output"):  # the same job may
            pass
    (error,) = said
    assert str(error).startswith(f"{tmp_path / 'output'} is being written by another job: wait until it ends")
    assert not list(tmp_path.glob(".*"))


def test_what_was_made_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"

    def write() -> None:
        with output_file(path, overwrite=False), replacing(path, new=True) as temporary:
            temporary.write_text("mine")
            path.write_text("somebody else's")

    with pytest.raises(FileExistsError, match="was made by somebody else meanwhile"):
        write()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["somebody else's"]


def test_a_forked_process_keeps_no_lock(tmp_path: Path) -> None:
    begin, end = os.pipe()
    with claimed(tmp_path / "output"):
        child = os.fork()
        if not child:
            os.read(begin, 1)
            os._exit(0)
        (mark,) = tmp_path.iterdir()
    mark.touch()
    with claimed(tmp_path / "output"):
        os.write(end, b"1")
    os.waitpid(child, 0)
    assert not list(tmp_path.iterdir())


class Ended(BaseException):
    """A request to end, as a command raises it."""


def test_a_request_to_end_leaves_no_lock_whenever_it_comes(tmp_path: Path) -> None:
    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first one ends the command
        raise Ended

    def interrupted(at: int) -> bool:
        """Claim an output, and let the signal come at a step of it; tell whether it took so many steps."""
        steps = itertools.count()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            if frame.f_code.co_filename not in (locks.__file__, uninterrupted.__file__):
                return None
            if event == "line" and next(steps) == at:
                signal.raise_signal(signal.SIGTERM)
            return trace

        signal.signal(signal.SIGTERM, end)
        sys.settrace(trace)
        try:
            with claimed(tmp_path / "output"):
                pass
        except Ended:
            return True
        finally:
            sys.settrace(before)
        return False

    before, handler = sys.gettrace(), signal.getsignal(signal.SIGTERM)
    try:
        at = 0
        while interrupted(at):
            assert not list(tmp_path.iterdir()), at
            with claimed(tmp_path / "output"):
                pass
            at += 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert at > 50
    assert not list(tmp_path.iterdir())
