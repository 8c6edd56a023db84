"""Processes that work side by side, where the failure of one run touches no other.

``multiprocessing.Pool`` waits for ever for a run whose process was killed, as the system does when memory
runs out, and ``ProcessPoolExecutor`` gives up all the others: so each process has a pipe of its own here.
"""

from __future__ import annotations

import contextlib
import json
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

from benchmarks.common.rows import Row, Settings, failed_row

Work = Callable[[Settings], Row]


def run_all(runs: Iterable[Settings], work: Work, processes: int) -> Generator[Row, None, None]:
    """Give the row of each run as it ends, ``{"settings": ..., **results}`` or that of its error.

    A process whose run failed is replaced, so that nothing of it reaches the next run. When the caller stops
    early, the runs in hand are given up.

    Args:
        runs: the settings of each run, of plain types.
        work: a function at the top of a module, from settings to results of plain types.
        processes: how many runs side by side.

    Raises:
        KeyboardInterrupt: the user stops, or a run raises it.
    """
    left = deque(runs)
    idle: list[_Worker] = []
    busy: dict[Connection, _Worker] = {}
    try:
        while left or busy:
            while left and len(busy) < processes:
                worker = idle.pop() if idle else _Worker(work)
                busy[worker.connection] = worker
                worker.begin(left.popleft())
            ready = wait(list(busy))
            for connection, worker in [*busy.items()]:
                if connection not in ready:
                    continue
                row = worker.result()
                del busy[connection]
                if "error" in row:
                    worker.stop()
                else:
                    idle.append(worker)
                yield row
    finally:
        left_over = [*idle, *busy.values()]
        for worker in left_over:
            worker.process.terminate()
        for worker in left_over:
            worker.stop()


class _Worker:
    """A process that makes one run after another, seen from outside."""

    def __init__(self, work: Work) -> None:
        context = get_context("spawn")
        self.connection, inside = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, inside), daemon=True)
        self.process.start()
        inside.close()  # so that the death of the process closes the pipe
        self.settings: Settings = {}

    def begin(self, settings: Settings) -> None:
        """Hand over a run."""
        self.settings = settings
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is dead: result() says so
            self.connection.send(settings)

    def result(self) -> Row:
        """Return the row of the run in hand, which has ended."""
        try:
            text = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return failed_row(self.settings, ChildProcessError(_death(self.process.exitcode or 0)))
        if text is None:
            raise KeyboardInterrupt
        row: Row = json.loads(text)
        return row

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        self.process.terminate()
        self.process.join(1.0)
        if self.process.is_alive():  # a trainer takes SIGTERM as a wish
            self.process.kill()
            self.process.join()


def _death(code: int) -> str:
    if code >= 0:
        return f"the process of the run ended with status {code} and no result"
    why = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
    return f"the process of the run was ended by signal {-code} ({signal.strsignal(-code)}){why}"


def _serve(work: Work, connection: Connection) -> None:
    """Make the runs that come through the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
    while True:
        try:
            settings = connection.recv()
        except EOFError:
            return
        try:
            # as JSON already here, so that a result that is none fails this run alone
            answer = json.dumps({"settings": settings, **work(settings)})
        except KeyboardInterrupt:
            answer = None
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            answer = json.dumps(failed_row(settings, error))
        connection.send(answer)
