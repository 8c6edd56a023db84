"""Reads back what an offline W&B run wrote: records in the LevelDB log format behind a header of 7 bytes."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
#: Of the file, and of each chunk: checksum (4), length (2), kind (1: whole, 2: first, 3: middle, 4: last).
HEADER = 7


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a ``.wandb`` file as protocol buffers, up to the last that is there as a whole."""
    from wandb.proto import wandb_internal_pb2

    data, position, parts = path.read_bytes(), HEADER, b""
    assert data.startswith(b":W&B")
    while position + HEADER <= len(data):
        room = BLOCK - position % BLOCK
        if room < HEADER:  # the rest of a block that has no room for a chunk
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        if position + HEADER + length > len(data):  # its process is still writing it
            return
        parts += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def written_whole(path: Path, seconds: float = 60.0) -> list[Any]:
    """Return the records of a run that has ended, once its process has written the last of them."""
    until = time.monotonic() + seconds
    while True:
        found = list(records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < until, (
            f"{path} of {path.stat().st_size} bytes has no end after {seconds:g} s"
        )
        time.sleep(0.1)
