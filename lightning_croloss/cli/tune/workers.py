"""The processes of a search: each is started once, and does one piece of work after the other.

They are sessions of their own, which Ctrl-C does not reach: what they do ends when this process ends, however
that happens, since they watch the pipe on which it speaks to them.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

#: Seconds between looks at processes that say nothing, and that one has to end.
PERIOD, PATIENCE = 0.5, 3.0
#: What says how many threads a process computes with.
THREADS = "OMP_NUM_THREADS"
VISIBLE = "CUDA_VISIBLE_DEVICES"

Task = Mapping[str, Any]
Answer = dict[str, Any]


class Worker:
    """A process that answers tasks.

    Args:
        environment: its environment.
        log: the file for what it prints.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**environment, "PYTHONPATH": _path_for(environment)},
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._tasks: IO[bytes] = self._process.stdin
        self.answers: IO[bytes] = self._process.stdout
        self.send({"path": sys.path})

    def send(self, task: Task) -> None:
        """Give it a task; one that has ended does not hear it."""
        try:
            self._tasks.write(json.dumps(task).encode() + b"\n")
            self._tasks.flush()
        except BrokenPipeError:
            pass  # its end is noticed where its answer is waited for

    def receive(self) -> Answer | None:
        """Return its answer; None if it has ended instead."""
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            return None
        answer: Answer = json.loads(line)
        return answer

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def close(self) -> int:
        """End it, and return its status."""
        for pipe in (self._tasks, self.answers):
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


class Workers:
    """Processes side by side, to be used as a context.

    Args:
        count: how many.
        logs: the folder for what they print.
        gpus: the names of the GPUs, of which each process sees one; none if empty.
    """

    def __init__(self, count: int, logs: Path, gpus: Sequence[str] = ()) -> None:
        self._environments = [_environment(number, count, gpus) for number in range(count)]
        self._logs = logs
        self._workers: dict[int, Worker] = {}

    def __enter__(self) -> Workers:
        self._worker(0)  # which is soon asked for something, and takes seconds to begin
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.kill()
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def start(self) -> None:
        """Start the processes, which import what they need before there is anything to do."""
        for number in range(len(self._environments)):
            self._worker(number)

    def kill(self) -> None:
        """End all processes at once."""
        for worker in self._workers.values():
            worker.kill()

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Answer]]:
        """Do tasks side by side, and yield the answer of each with its number, in any order.

        Each task is taken when a process is free for it and all answers so far were dealt with. The answer of
        a task whose process was killed has an ``error``; another process takes its place.
        """
        waiting = enumerate(tasks)
        busy: dict[int, int] = {}  # process -> task
        with selectors.DefaultSelector() as selector:
            while True:
                for number in [each for each in range(len(self._environments)) if each not in busy]:
                    if (following := next(waiting, None)) is not None:
                        busy[number], task = following
                        worker = self._worker(number)
                        worker.send(task)
                        selector.register(worker.answers, selectors.EVENT_READ, number)
                if not busy:
                    return
                ready = [key.data for key, _ in selector.select(PERIOD)]
                # a process of the process may hold the pipe open
                ready += [each for each in busy if each not in ready and not self._workers[each].running]
                for number in ready:
                    worker = self._workers[number]
                    selector.unregister(worker.answers)
                    answer = worker.receive()
                    if answer is None:
                        answer = {"error": _killed(worker.close(), worker.log), "killed": True}
                        del self._workers[number]
                    yield busy.pop(number), answer

    def _worker(self, number: int) -> Worker:
        if number not in self._workers:
            log = self._logs / f"worker_{number}.log"
            self._workers[number] = Worker(self._environments[number], log)
        return self._workers[number]


def visible_gpus(count: int) -> list[str]:
    """Return the names of ``count`` GPUs, as the variable that chooses among them has them."""
    named = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    return named[:count] if len(named) >= count else [str(number) for number in range(count)]


def _environment(number: int, count: int, gpus: Sequence[str]) -> dict[str, str]:
    """Return the environment of one of several processes: a GPU of its own, or its share of the processor."""
    environment = dict(os.environ)
    if count > 1:
        if gpus:
            environment[VISIBLE] = gpus[number % len(gpus)]
        environment.setdefault(THREADS, str(max(1, _cores() // count)))
    return environment


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _path_for(environment: Mapping[str, str]) -> str:
    """Return a search path on which the process finds this package, whatever the current folder."""
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(
        dict.fromkeys([root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))])
    )


def _killed(status: int, log: Path) -> str:
    if status == -9:
        return f"its process was killed, perhaps for want of memory (see {log})"
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return f"its process ended {how} (see {log})"


_PROGRAM = "from lightning_croloss.cli.tune.worker import main; main()"

__all__ = ["Answer", "Task", "Workers", "visible_gpus"]
