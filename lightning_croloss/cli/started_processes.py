"""The processes that a trainer starts itself, which end with the command."""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from lightning.fabric.strategies.launchers.subprocess_script import (
    _SubprocessScriptLauncher as _FabricScriptLauncher,
)
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher

from lightning_croloss.cli.interruption import current, interruption_behind

#: What starts the command again, in processes of its own.
_SCRIPT_LAUNCHERS = (_SubprocessScriptLauncher, _FabricScriptLauncher)
#: Seconds that processes have to end by themselves, and then on SIGTERM.
ALONE, ASKED = 2.0, 3.0
#: Seconds beyond their own patience that this process waits for those that do all the work.
LONGER = 5.0


class StartedProcesses:
    """The other processes of a run on several devices.

    Args:
        launcher: what starts them, of a trainer's or Fabric's strategy; None if nothing does.
    """

    def __init__(self, launcher: Any) -> None:
        self._launcher = launcher
        self._taken: list[subprocess.Popen[Any]] = []

    @property
    def do_all_the_work(self) -> bool:
        """Whether this process only waits for them (``ddp_spawn``)."""
        return isinstance(self._launcher, _MultiProcessingLauncher)

    def hear(self, number: int) -> None:
        """Answer the first signal."""
        if self.do_all_the_work:
            self._launcher.kill(signal.SIGTERM)
        else:
            self.disown()

    def disown(self) -> None:
        """Take the processes from Lightning, which would take their end for a failure, and kill this one."""
        if isinstance(self._launcher, _SCRIPT_LAUNCHERS):
            self._taken += self._launcher.procs
            self._launcher.procs.clear()

    def end(self) -> None:
        """See to it that all have ended."""
        if self._wait(ALONE):
            return
        for process in self._all():
            if _alive(process):
                process.terminate()
        if not self._wait(ASKED):
            self.kill()

    def kill(self) -> None:
        """End them at once."""
        for process in self._all():
            if _alive(process):
                process.kill()

    def _all(self) -> list[Any]:
        return [*self._taken, *getattr(self._launcher, "procs", [])]

    def _wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while any(map(_alive, self._all())):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def ending_together(launcher: Any) -> Iterator[None]:
    """Run a block whose processes end with this one if a signal ends it.

    Args:
        launcher: what starts them, see :class:`StartedProcesses`.
    """
    interruption = current()
    if interruption is None:
        yield
        return
    processes = StartedProcesses(launcher)
    interruption.first.append(processes.hear)
    interruption.last.append(processes.kill)
    if processes.do_all_the_work:
        interruption.patient = True
        interruption.patience += LONGER
    try:
        yield
    except BaseException as error:
        if interruption.number is None:
            raise
        interruption.patience = math.inf  # nothing is overdue any more
        processes.end()
        if processes.do_all_the_work and interruption_behind(error) is None:  # one of them has ended
            interruption.end()
        raise
    finally:
        interruption.first.remove(processes.hear)
        interruption.last.remove(processes.kill)
        if processes.do_all_the_work:
            interruption.patient = False
            interruption.patience -= LONGER
    interruption.check()  # it came when training was over


def _alive(process: subprocess.Popen[Any] | BaseProcess) -> bool:
    return process.poll() is None if isinstance(process, subprocess.Popen) else process.is_alive()
