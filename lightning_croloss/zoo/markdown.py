"""The parts that model cards and the leaderboard share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_croloss.baselines.measuring import WHOLE

BASELINES = {"popularity": "popularity", "item_knn": "item kNN"}


def example(name: str) -> str:
    """Return the lines of code that load a model."""
    return (
        f'```python\nfrom lightning_croloss import load_pretrained\n\nmodel = load_pretrained("{name}")\n```'
    )


def ns_of(test: Mapping[str, float]) -> list[int]:
    """Return the N of the metrics of a test, in order."""
    return sorted(int(name.partition("@")[2]) for name in test if name.startswith("recall@"))


def named_baseline(baseline: str, metrics: Mapping[str, Any]) -> str:
    """Return the name of a baseline with its setting."""
    setting = metrics["baselines"][baseline]["setting"]
    if not setting:
        return BASELINES[baseline]
    recent = setting["recent"]
    history = (
        "the whole history" if recent >= WHOLE else "the last event" if recent == 1 else f"the last {recent}"
    )
    return f"{BASELINES[baseline]} ({setting['neighbours']} neighbours of {history})"


def training_seconds(training: Mapping[str, Any]) -> float:
    """Return how long a training takes on a machine that does nothing else, as far as that was recorded.

    On one thread it is the time of the processor: the clock goes on while others have it.
    """
    of_processor = training.get("processor_seconds")
    return float(training["seconds"] if of_processor is None or training["threads"] > 1 else of_processor)
