"""What ends a command: Ctrl-C, SIGTERM and SIGHUP, at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_croloss.cli import interruption
from lightning_croloss.cli.interruption import SIGNALS, Interrupted, answering_signals, current
from lightning_croloss.common.files import replacing
from tests.cli.cases import PACKAGES
from tests.data_for_tests import ClusteredData, fit, small_model

#: What a shell says of a program that a signal has ended.
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SECONDS = 20
pytestmark = pytest.mark.usefixtures("heeding_signals")


def send(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def wait(happened: Callable[[], object] = lambda: False) -> None:
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def ended(work: Callable[[], None]) -> int | str | None:
    with pytest.raises(SystemExit) as caught, answering_signals():
        work()
    assert current() is None
    return caught.value.code


@pytest.mark.parametrize("number", SIGNALS)
def test_the_status_one_line_and_no_temporary_file(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def writes() -> None:
        with replacing(tmp_path / "file") as path:
            path.write_text("half")
            send(number)
            wait()

    handlers = [signal.getsignal(each) for each in SIGNALS]
    assert ended(writes) == STATUS[signal.Signals(number)]
    assert capsys.readouterr().err == "croloss: interrupted\n"
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(each) for each in SIGNALS] == handlers


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with answering_signals():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_is_swallowed_is_raised_again(capsys: pytest.CaptureFixture[str]) -> None:
    swallowed = []

    class Deleted:
        def __del__(self) -> None:
            try:
                send()
                wait()
            except BaseException as error:
                swallowed.append(type(error))

    def deletes() -> None:
        Deleted()
        wait()

    assert ended(deletes) == 143
    assert swallowed == [Interrupted]
    assert capsys.readouterr().err == "croloss: interrupted\n"


def test_an_error_on_the_way_up_is_still_the_interruption() -> None:
    def closes_badly() -> None:
        try:
            send()
            wait()
        finally:
            raise RuntimeError("the pool is gone")

    assert ended(closes_badly) == 143


def test_an_error_of_its_own_is_not_hidden() -> None:
    def fails() -> None:
        patient()
        send()
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"), answering_signals():
        fails()


def test_work_that_was_done_when_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    def finishes() -> None:
        patient()
        send()

    assert ended(finishes) == 143
    assert capsys.readouterr().err == "croloss: interrupted; its work was done\n"


def patient() -> None:
    here = current()
    assert here is not None
    here.patient = True


def test_a_patient_command_chooses_when() -> None:
    def chooses() -> None:
        patient()
        here = current()
        assert here is not None
        send()
        here.check()

    assert ended(chooses) == 143


def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE", 0.3)

    def goes_on() -> None:
        patient()
        send()
        wait()

    assert ended(goes_on) == 143


def test_the_same_signal_for_the_group_is_not_a_second_one() -> None:
    def hears_it_twice() -> None:
        patient()
        send()
        send()
        here = current()
        assert here is not None
        here.check()

    assert ended(hears_it_twice) == 143


def test_a_second_signal_ends_the_patience() -> None:
    def hears_another() -> None:
        patient()
        send()
        time.sleep(interruption.SAME + 0.05)
        send(signal.SIGINT)
        wait()

    begun = time.monotonic()
    assert ended(hears_another) == 143  # the first one says why
    assert time.monotonic() - begun < interruption.PATIENCE


def test_a_process_forked_for_the_data_ends_as_ever() -> None:
    with answering_signals():
        child = os.fork()
        if child == 0:
            send()
            time.sleep(SECONDS)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGTERM
        here = current()
        assert here is not None
        assert here.number is None


def test_a_trainer_in_python_leaves_the_handlers_alone() -> None:
    seen = []

    class Watching(ClusteredData):
        def setup(self, stage: str) -> None:
            seen.append([signal.getsignal(each) for each in SIGNALS])
            super().setup(stage)

    before = [signal.getsignal(each) for each in SIGNALS]
    fit(small_model(), Watching(num_users=30))
    assert seen == [before]
    assert [signal.getsignal(each) for each in SIGNALS] == before


SLOW_TO_END = """
import os, signal, time
from lightning_croloss.cli.interruption import answering_signals
with answering_signals():
    try:
        print("ready", flush=True)
        time.sleep(20)
    finally:
        print("cleaning up", flush=True)
        time.sleep(20)
"""


def test_a_second_ctrl_c_ends_at_once() -> None:
    process = started("-c", SLOW_TO_END)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning up\n"
    time.sleep(interruption.SAME + 0.1)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert time.monotonic() - begun < 5
    assert (process.returncode, said) == (130, "croloss: interrupted\n")


def test_while_modules_are_imported() -> None:
    process = started("-v", "-m", "lightning_croloss", "fit", "--config=none.yaml")
    assert process.stderr is not None
    for line in process.stderr:  # Python's, of each module
        if line.startswith("import 'lightning."):
            break
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said.count("croloss: interrupted") == 1
    assert "Traceback" not in said


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": PACKAGES},
        # ignored by a process in the background, and then by its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
