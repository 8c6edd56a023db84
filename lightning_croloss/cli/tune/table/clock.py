"""How long a search by the clock has taken, over all commands that went on with it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from lightning_croloss.tuning.records import read_record, write_record

SPENT = "spent.json"
#: Seconds after which it is written down again: a command that is killed loses no more of its time.
PERIOD = 5.0


def spent_before(folder: Path) -> float:
    """Return the seconds that a search has taken so far; 0 if nothing is noted."""
    path = folder / SPENT
    return read_record(path, lambda spent: float(spent["seconds"])) if path.exists() else 0.0


class SpentTime:
    """Notes how long a search has taken, while its block runs and at the end of it.

    Args:
        folder: the folder of the search.
        began: when it began, by ``time.monotonic``, as if one command had done all of it.
        period: seconds between two notes.
    """

    def __init__(self, folder: Path, began: float, period: float = PERIOD) -> None:
        self._path = folder / SPENT
        self._began, self._period = began, period
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._note_on, daemon=True)

    def __enter__(self) -> SpentTime:
        self._note()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._note()
        except OSError:
            if kind is None:  # else what has ended the block says more
                raise

    def _note_on(self) -> None:
        while not self._over.wait(self._period):
            try:
                self._note()
            except OSError:  # the search itself, which writes there too, says what is wrong
                return

    def _note(self) -> None:
        write_record(self._path, {"seconds": time.monotonic() - self._began})


__all__ = ["SPENT", "SpentTime", "spent_before"]
