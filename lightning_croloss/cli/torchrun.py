"""Whether torchrun has started this process, and with how many others."""

from __future__ import annotations

import os
import sys

from lightning_croloss.cli.quiet import is_first_process

#: What tells that it was torchrun, how many processes there are in all, and how many on this machine.
_RUN, _WORLD, _LOCAL = "TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE"


def started_by_torchrun() -> tuple[int, int] | None:
    """Return how many processes torchrun has started in all, and on this machine; None if it has not."""
    if _RUN not in os.environ:
        return None
    return int(os.environ[_WORLD]), int(os.environ[_LOCAL])


def refuse_torchrun(command: str) -> None:
    """Refuse several processes for a command that works in one; the first process says so.

    Raises:
        ValueError: torchrun has started them.
        SystemExit: the same, in all processes but the first.
    """
    started = started_by_torchrun()
    if started is None or started[0] == 1:
        return
    if not is_first_process():
        sys.exit(1)
    raise ValueError(
        f"croloss {command} works in one process, but torchrun has started {started[0]}: call it without "
        "torchrun"
    )
