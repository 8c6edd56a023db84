"""A mistake that all processes of a run meet is told by the first alone."""

from __future__ import annotations

import os
import time

from lightning_croloss.cli.quiet import STARTED, is_first_process

#: How long the others leave it to the first to tell what is wrong, and between two looks at it.
_SECONDS, _PAUSE = 10.0, 0.1


def is_told_by_another(error: BaseException, parent: int) -> bool:
    """Tell whether the first process of a run has ended with what this one has met as well.

    Args:
        error: what this one has met. Where it is another one's end, nobody else may tell of it.
        parent: the process that has started this one, asked for before the error.
    """
    # the parent of the processes that Lightning starts is the first
    if is_first_process() or STARTED not in os.environ:
        return False
    # with torch, which what is answered at once does without
    from lightning_croloss.cli.lost_process import LostProcessError

    if isinstance(error, LostProcessError):
        return False
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if os.getppid() != parent:
            return True
        time.sleep(_PAUSE)
    return False
