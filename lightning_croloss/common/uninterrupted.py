"""Steps that Ctrl-C and a request to end must not tear apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: The signals that wait; SIGKILL cannot.
WAITING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block ends; keep the block short.

    Only the main thread is ever interrupted: in others, and for signals that are ignored, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before: dict[int, Callable[..., Any] | int] = {}
    try:
        for number in WAITING:
            handler = signal.getsignal(number)
            if handler in (None, signal.SIG_IGN):  # None: it was not set from Python, which cannot restore it
                continue
            assert handler is not None
            before[number] = handler
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
