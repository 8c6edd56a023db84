"""What the processes of a run say when another one of them has ended, killed for instance."""

from __future__ import annotations

import re

from torch.distributed import DistBackendError

#: How the transports of ``torch.distributed`` tell that nobody answers any more.
_GONE = re.compile(
    r"closed by peer|reset by peer|Broken pipe|Connection refused|Timed out waiting|remote process exited",
    re.IGNORECASE,
)
_TRANSPORTS = re.compile(r"gloo|nccl|ucc|TCPStore|socket", re.IGNORECASE)


class LostProcessError(RuntimeError):
    """Another process of the run has ended."""


def explained_loss(error: BaseException) -> LostProcessError | None:
    """Return a sentence in place of what a transport says of a process that is gone; None of other errors."""
    if not isinstance(error, (RuntimeError, DistBackendError)):
        return None
    told = str(error)
    if not (_GONE.search(told) and _TRANSPORTS.search(told)):
        return None
    return LostProcessError(
        "another process of this run has ended, and the others cannot go on without it: if it said nothing "
        "it was killed, for want of memory perhaps; a fit goes on from its last checkpoint by --ckpt_path, "
        "with any number of processes"
    )
