"""Processes that are copies of this one, which has imported all that they need: a start costs nothing."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lightning_croloss.cli import tune_worker


class Forked:
    """A copy of this process that does one thing and ends.

    Args:
        do: what it does.
        log: the file for what it prints.
    """

    def __init__(self, do: Callable[[], object], log: Path) -> None:
        self.pid = os.fork()
        self.returncode: int | None = None
        if self.pid == 0:
            status = 1
            try:  # whatever happens, it must not go on as a copy of the tests
                descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(descriptor, 2)
                torch.set_num_threads(1)  # those of the pool are not copied
                do()
                status = 0
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(status)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


class ForkedWorker(Forked):
    """In place of ``subprocess.Popen`` of a process of a search, whose program it runs."""

    def __init__(self, *_: Any, stderr: Any, **__: Any) -> None:
        tasks, self._tasks = os.pipe()
        self._answers, answers = os.pipe()

        def work() -> None:
            os.setsid()
            for descriptor in (self._tasks, self._answers):  # else it would never see their end
                os.close(descriptor)
            os.dup2(tasks, 0)
            os.dup2(answers, 1)
            tune_worker.main()

        super().__init__(work, Path(stderr.name))
        os.close(tasks)
        os.close(answers)
        self.stdin = os.fdopen(self._tasks, "wb")
        self.stdout = os.fdopen(self._answers, "rb")

    def kill(self) -> None:
        os.kill(self.pid, 9)
