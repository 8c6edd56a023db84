"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal text, read in blocks of 1 MiB."""
    with path.open("rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of what an open file still holds as hexadecimal text, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
