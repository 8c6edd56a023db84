"""The seed of a run."""

from __future__ import annotations

import os


def run_seed() -> int:
    """Return the seed that ``seed_everything`` set, or 0."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))
