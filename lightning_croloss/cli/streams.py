"""Standard output and standard error of a command: closed by whoever reads them, or full."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from lightning_croloss.common.system_errors import CANNOT_WRITE

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
        broken = broken_streams(error)
        if not broken:
            raise
        for stream in broken:
            _silence(stream)
        before = error.__context__
        status = before.code if isinstance(before, SystemExit) and isinstance(before.code, int) else 0
        if isinstance(error, BrokenPipeError):
            raise SystemExit(status or CLOSED) from None
        if sys.stdout in broken and not status:
            try:
                print(f"croloss: error: standard output: {error.strerror}", file=sys.stderr, flush=True)
            except OSError:
                _silence(sys.stderr)
        raise SystemExit(status or 1) from None


def broken_streams(error: OSError) -> list[TextIO]:
    """Return the standard streams that ``error`` may have come from; none if they can be written to."""
    if error.filename is not None or error.errno not in (errno.EPIPE, *CANNOT_WRITE):
        return []
    if error.errno == errno.EPIPE:
        return [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
    # one is enough: each other would be written to
    return next(([stream] for stream in (sys.stdout, sys.stderr) if _takes_nothing(stream)), [])


def _open_what_is_closed() -> None:
    """Let nothing else get the number of a standard stream that is closed: a file of the command's, say."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _has_no_reader(stream: TextIO) -> bool:
    file = _number(stream)
    if file is None:
        return False
    poll = select.poll()
    poll.register(file, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _takes_nothing(stream: TextIO) -> bool:
    file = _number(stream)
    if file is None:
        return False
    try:
        stream.flush()
        os.write(file, b"\n")  # what could not be written may not be in the buffer any more
    except OSError:
        return True
    return False


def _number(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # not a file
        return None


def _silence(stream: TextIO) -> None:
    """Send what is still in the buffer, and what comes, nowhere: Python writes it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
