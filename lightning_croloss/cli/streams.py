"""Standard output and standard error of a command: closed by whoever reads them, or full."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: What a shell says of a program that wrote into a pipe that nobody reads: 128 + SIGPIPE.
CLOSED = 141


@contextmanager
def standard_streams() -> Iterator[None]:
    """Run a command whose output may be closed early (``| head -1``), which is no error, or not be written.

    Raises:
        SystemExit: standard output or standard error could not be written.
    """
    _open_what_is_closed()
    try:
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    except OSError as error:
        broken = [stream for stream in (sys.stdout, sys.stderr) if _is_broken(stream)]
        if not broken:
            raise
        for stream in broken:
            _silence(stream)
        before = error.__context__
        status = before.code if isinstance(before, SystemExit) and isinstance(before.code, int) else 0
        if isinstance(error, BrokenPipeError):
            raise SystemExit(status or CLOSED) from None
        if sys.stdout in broken and not status:
            print(f"croloss: error: standard output: {error.strerror}", file=sys.stderr)
        raise SystemExit(status or 1) from None


def _open_what_is_closed() -> None:
    """Let nothing else get the number of a standard stream that is closed: a file of the command's, say."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _is_broken(stream: TextIO) -> bool:
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # not a file
        return False
    try:
        stream.flush()
    except OSError:
        return True
    poll = select.poll()
    poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _silence(stream: TextIO) -> None:
    """Send what is still in the buffer, and what comes, nowhere: Python writes it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
