"""Memory that ran out, on a device or of the machine: what to make smaller."""

from __future__ import annotations

import re

#: What libraries say instead of raising an exception of its own.
_RAN_OUT = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|ALLOC_FAILED",
    re.IGNORECASE,
)
#: What the allocator of the processor says before it comes to the point.
_WHERE = re.compile(r"^\[enforce fail at [^\]]*\][^:]*?\.\s*|DefaultCPUAllocator:\s*")
ADVICE = (
    "make data.batch_size smaller if it was in training; data.eval_batch_size, or model.tile_elements (the "
    "scores held at a time), in validate, test and predict"
)


class MemoryShortError(MemoryError):
    """Memory ran out; says what to make smaller."""


def explained_memory(error: BaseException) -> MemoryShortError | None:
    """Return what to tell a user whose memory ran out; None for another error.

    Args:
        error: of PyTorch, NumPy or Python; an ``OSError`` is about files, or says itself what it lacks.
    """
    if isinstance(error, OSError) or not isinstance(error, (MemoryError, RuntimeError)):
        return None
    if not isinstance(error, MemoryError) and not _RAN_OUT.search(str(error)):
        return None
    lines = _WHERE.sub("", str(error).strip()).splitlines()
    first = re.split(r"(?<=[a-zA-Z)])\. ", lines[0])[:2] if lines else []
    said = f" ({'; '.join(part.rstrip('.') for part in first)})" if first else ""
    return MemoryShortError(f"memory ran out{said}: {ADVICE}")
