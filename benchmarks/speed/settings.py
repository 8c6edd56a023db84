"""What the command line says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    threads: tuple[int, ...]
    repeats: int
    quick: bool
    clock: str = "wall"
    data: Path | None = None
