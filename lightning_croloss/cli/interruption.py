"""How a command answers Ctrl-C and the signals by which a system ends it."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from lightning_croloss.cli.quiet import is_first_process

#: What is answered: Ctrl-C, the end of a job, and a terminal that is closed.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: Seconds within which a signal that comes again is the same one, sent to a process and to its group.
SAME = 0.25
#: Seconds that a batch may still take, and how often one looks.
PATIENCE = 8.0
PERIOD = 0.1


class Interrupted(BaseException):
    """A signal ends the command; not an ``Exception``, so that nothing takes it for an error.

    Attributes:
        number: the signal.
        advice: what the user should know besides; set by what knows it, on the way up.
    """

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(number)
        self.number = number
        self.advice = advice


class _Ended(SystemExit):
    """The end of a process that a trainer started; unlike its base, it can be watched."""


class Interruption:
    """The answer to the signals that may end a command.

    The first one is raised in the main thread as :class:`Interrupted`, so that temporary files are removed on
    the way up. If code that lets no exception through (a ``__del__``) swallows it, it is raised again. While
    ``patient``, it is only noted, for somebody to call :meth:`check` where it is convenient, until
    ``patience`` seconds have passed or it comes again. What comes after that ends the process at once.

    Args:
        quietly: in a process that a trainer started, which ends without a word.
    """

    def __init__(self, quietly: bool = False) -> None:
        self.number: int | None = None
        self.patient = False
        self.patience = PATIENCE
        #: called with the signal when the first one comes
        self.first: list[Callable[[int], None]] = []
        #: called before the process is ended at once
        self.last: list[Callable[[], None]] = []
        self._quietly = quietly
        self._process = os.getpid()
        self._since = 0.0
        self._raised: weakref.ref[BaseException] | None = None
        self._over = False
        self._lock = threading.Lock()
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def listen(self) -> None:
        """Answer the signals from now on, except for those that are ignored (``nohup``)."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            answer = signal.getsignal(number)
            if answer is not signal.SIG_IGN and answer != self.answer:
                self._before.setdefault(number, answer)
                signal.signal(number, self.answer)

    def finish(self) -> None:
        """Take no notice of a signal any more: the command has ended."""
        with self._lock:
            self._over = True

    def stop(self) -> None:
        """Let the handlers be again those that were there before."""
        self.finish()
        for number, answer in self._before.items():
            if signal.getsignal(number) == self.answer:
                signal.signal(number, signal.SIG_DFL if answer is None else answer)
        self._before.clear()

    def check(self) -> None:
        """Raise what was noted.

        Raises:
            Interrupted: a signal has come.
        """
        if self.number is not None:
            self._raise(self.number)

    def end(self) -> None:
        """Raise what was noted, or that another process of the run was asked to end.

        Raises:
            Interrupted: always.
        """
        self.number = self.number or signal.SIGTERM
        self._raise(self.number)

    def answer(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal; the handler."""
        if os.getpid() != self._process:  # forked from this one, for the data or by a library
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if self._over or (self.number is not None and now - self._since < SAME):
            return
        self._since = now
        if self.number is not None:
            if self._raised is not None and self._raised() is not None:  # it is on its way, but takes long
                self._end_at_once()
            self._raise(self.number)
        self.number = number
        _thread.start_new_thread(self._insist, ())  # takes no lock that the interrupted code may hold
        for call in self.first:
            call(number)
        if not self.patient:
            self._raise(number)

    def _raise(self, number: int) -> None:
        error = _Ended(128 + number) if self._quietly else Interrupted(number)
        self._raised = weakref.ref(error)
        try:
            raise error
        finally:
            del error  # its traceback would keep it for ever

    def _insist(self) -> None:
        """Send the signal again when it is overdue or was swallowed; runs in a thread of its own."""
        begun = time.monotonic()
        main = threading.main_thread().ident
        while main is not None:
            time.sleep(PERIOD)
            with self._lock:
                if self._over or self.number is None or (self._quietly and self._raised is not None):
                    return
                now = time.monotonic()
                due = now - begun > self.patience if self._raised is None else self._raised() is None
                if due and now - self._since > SAME:
                    signal.pthread_kill(main, self.number)

    def _end_at_once(self) -> None:
        assert self.number is not None
        for call in self.last:
            call()
        if not self._quietly:
            tell("")
        os._exit(128 + self.number)


def tell(advice: str) -> None:
    """Say that the command was interrupted, once for all processes of a run."""
    if is_first_process():
        with suppress(OSError):  # the terminal is gone
            print(f"croloss: interrupted{'; ' if advice else ''}{advice}", file=sys.stderr, flush=True)


_CURRENT: list[Interruption] = []


def current() -> Interruption | None:
    """Return what answers the signals of this process, if anything of ours does."""
    return _CURRENT[-1] if _CURRENT and _CURRENT[-1]._process == os.getpid() else None


def listen_in_started_process() -> None:
    """Answer the signals, without a word, in a process that a trainer has started (``ddp_spawn``)."""
    if current() is None:
        _CURRENT.append(Interruption(quietly=True))
        _CURRENT[-1].listen()


def interruption_behind(error: BaseException) -> Interrupted | None:
    """Return the interruption that led to ``error``, if one did; ``KeyboardInterrupt`` is one."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, Interrupted):
            return cause
        if isinstance(cause, KeyboardInterrupt):
            return Interrupted(signal.SIGINT)
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def answering_signals() -> Iterator[None]:
    """Run a command that a signal ends with one line and the status 128 + its number, as a shell has it.

    Raises:
        SystemExit: a signal came.
    """
    interruption = Interruption()
    _CURRENT.append(interruption)
    try:
        ended = None
        try:
            interruption.listen()
            yield
            if interruption.number is not None:  # too late
                ended = Interrupted(interruption.number, "its work was done")
        except BaseException as error:
            ended = interruption_behind(error)
            if ended is None:
                raise
        finally:
            interruption.finish()
        if ended is not None:
            tell(ended.advice)
            raise SystemExit(128 + ended.number) from None
    finally:
        interruption.stop()
        _CURRENT.remove(interruption)
