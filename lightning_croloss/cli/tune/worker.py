"""A process of a search: it reads tasks, does them, and answers; it ends when the search does."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from contextlib import suppress
from typing import IO, Any


def main() -> None:
    """Answer tasks until the process that gives them has ended."""
    # what others print goes to the log, which is the standard error, and nobody reads the standard input
    tasks: IO[bytes] = os.fdopen(os.dup(0), "rb")
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    first = tasks.readline()
    if not first:
        return
    sys.path[:] = json.loads(first)["path"]
    threading.Thread(target=_listen, args=(tasks, waiting), daemon=True).start()
    import lightning_croloss.cli.tune.work  # noqa: F401  (while nothing is to be done yet)

    while True:
        answer = json.dumps(answer_to(waiting.get()))
        with suppress(OSError):  # the log is on a full disk
            sys.stdout.flush()
            sys.stderr.flush()
        answers.write(answer.encode() + b"\n")
        answers.flush()


def _listen(tasks: IO[bytes], waiting: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Take tasks, and end the process, whatever it does, when there can come no more."""
    for line in iter(tasks.readline, b""):
        waiting.put(json.loads(line))
    os._exit(1)


def answer_to(task: dict[str, Any]) -> dict[str, Any]:
    """Do a task.

    Args:
        task: ``do`` names a function of :mod:`lightning_croloss.cli.tune.work`, the rest is its arguments.

    Returns:
        Its ``result``, or the ``error`` that ended it, in one sentence, and whether that ``ends`` all others.
    """
    from lightning_croloss.cli.tune import work

    arguments = {name: value for name, value in task.items() if name != "do"}
    try:
        return {"result": getattr(work, task["do"])(**arguments)}
    except (Exception, SystemExit) as error:
        with suppress(OSError):  # the log is on a full disk
            traceback.print_exc()
        ends = work.is_of_the_machine(error)
        return {"error": work.sentence_about(error), "ends": ends}
    finally:
        work.end_runs()


__all__ = ["answer_to", "main"]
