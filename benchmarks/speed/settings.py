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
    before: Path | None = None

    def missing_file(self, name: str) -> str | None:
        """Return what to tell if a file of the data is not there, else None."""
        if self.data is None:
            return f"name the folder that holds {name} with --data"
        return None if (self.data / name).is_file() else f"{self.data} holds no {name}"
