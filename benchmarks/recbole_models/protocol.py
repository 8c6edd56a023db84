"""Which runs there are, and what one does: a model, on one side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import ModuleType

from benchmarks.common.rows import Row, Settings
from benchmarks.common.training import start_run
from benchmarks.recbole_models import general, sequential
from benchmarks.recbole_models.recbole_side import SEED

#: Name in RecBole -> the module of its protocol.
MODELS: dict[str, ModuleType] = {
    model: protocol for protocol in (general, sequential) for model in protocol.MODELS
}


def runs(models: Sequence[str] = tuple(MODELS)) -> list[Settings]:
    """Return every model on both sides."""
    return [{"model": model, "side": side} for model in models for side in ("RecBole", "here")]


def work(settings: Settings) -> Row:
    """Train for all epochs, and test the best: the work of one run."""
    start_run(SEED)
    protocol = MODELS[settings["model"]]
    side = protocol.theirs if settings["side"] == "RecBole" else protocol.ours
    started = time.perf_counter()
    found = {name: round(value, 5) for name, value in side(settings["model"]).items()}
    return {**found, "seconds": round(time.perf_counter() - started)}
