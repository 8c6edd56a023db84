"""Rows of a comparison: one JSON line a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Settings = dict[str, Any]
Row = dict[str, Any]


def identity(settings: Settings) -> str:
    """Return the text that tells one run from another."""
    return json.dumps(settings, sort_keys=True)


def rows_of(path: Path) -> dict[str, Row]:
    """Read the rows of finished runs, by identity; a last line cut off by a crash is dropped."""
    rows = {}
    if path.exists():
        lines = path.read_text().split("\n")
        for line in lines[:-1]:  # a whole line ends in a newline
            row = json.loads(line)
            rows[identity(row["settings"])] = row
    return rows
