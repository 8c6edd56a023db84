"""A run that fails, in a module that imports nothing heavy: each process of a test imports it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def failing_work(settings: dict[str, Any], folder: str) -> dict[str, Any]:
    """Stand in for a run of lazy_adam: one fails as long as the folder holds a file "broken"."""
    if settings["data"] == "ciao" and settings["seed"] == 2 and (Path(folder) / "broken").exists():
        raise ValueError("the table is broken")
    recall = 0.9 if settings["seed"] == 2 else 0.1  # left out, this seed moves the mean
    return {"fit_seconds": 1.0, **{f"recall@{n}": recall for n in (20, 50, 100, 500)}}
