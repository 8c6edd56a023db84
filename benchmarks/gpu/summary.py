"""The end of a run: what passed, failed and did not end, and the tables, as JSON and Markdown."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.common.rows import Row, failures_of, rows_of
from benchmarks.common.tables import table
from benchmarks.gpu.report import report
from lightning_croloss.common.files import write_atomically

#: Failures that the Markdown shows in full; the JSON has all.
SHOWN = 60
#: Exit statuses of `timeout`.
TIMED_OUT = (124, 137)
LOST = "hung or died"


def summarize(folder: Path, device: str) -> dict[str, Any]:
    """Read what the parts have written, write summary.json and summary.md, and return the former.

    Args:
        folder: the results of one run.
        device: "cuda" or "cpu".
    """
    described = folder / "environment.json"
    path = folder / "correctness.jsonl"
    tests = [*rows_of(path).values(), *failures_of(path).values()]
    outcomes = Counter(_outcome(row) for row in tests)
    path = folder / "speed.jsonl"
    speed, broken = rows_of(path), failures_of(path)
    found = {
        "environment": json.loads(described.read_text()) if described.exists() else {},
        "parts": _parts(folder / "parts.jsonl"),
        "tests": dict(sorted(outcomes.items())),
        "failures": [
            {"test": row["settings"]["test"], "outcome": _outcome(row), "error": row.get("error", "")}
            for row in tests
            if _outcome(row) in ("failed", LOST)
        ],
        "speed": list(speed.values()),
        "speed failures": list(broken.values()),
    }
    write_atomically(folder / "summary.json", json.dumps(found, indent=1).encode())
    write_atomically(folder / "summary.md", _markdown(found, report(speed, broken, device)).encode())
    return found


def is_clean(found: dict[str, Any]) -> bool:
    """Tell whether every part ended, and nothing failed."""
    ended = all(part["status"] == 0 for part in found["parts"])
    return ended and not found["failures"] and not found["speed failures"]


def _outcome(row: Row) -> str:
    """Return passed, failed, skipped, or that a test began and never ended."""
    return LOST if row["outcome"] == "started" else str(row["outcome"])


def _parts(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _state(part: dict[str, Any]) -> str:
    if part["status"] in TIMED_OUT:
        return f"stopped at its limit of {part['limit']} s"
    return {0: "ended", -1: "no time was left"}.get(part["status"], f"exit status {part['status']}")


def _markdown(found: dict[str, Any], speed: str) -> str:
    described = [[str(name), str(value)] for name, value in found["environment"].items()]
    parts = [[part["part"], _state(part), f"{part['seconds']} s"] for part in found["parts"]]
    text = ["# On a device", "Written by `benchmarks/gpu/run.sh`."]
    text += [table(["what", "value"], described)] if described else ["The device could not be described."]
    text += ["## Parts", table(["part", "state", "time"], parts)]
    if found["tests"]:
        counts = ", ".join(f"{count} {name}" for name, count in found["tests"].items())
        text += ["## Correctness", f"Tests of `tests/gpu`: {counts}."]
    if found["failures"]:
        lines = [
            [f"`{entry['test'].removeprefix('tests/gpu/')}`", entry["outcome"], _cell(entry["error"])]
            for entry in found["failures"][:SHOWN]
        ]
        text += [table(["test", "outcome", "first lines"], lines)]
        more = len(found["failures"]) - SHOWN
        text += [f"… and {more} more, see summary.json."] if more > 0 else []
    return "\n\n".join([*text, *([speed] if speed else [])]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:300]
