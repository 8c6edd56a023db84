"""What is measured of a pretrained model, when it is built and when its card is checked."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer

from lightning_croloss.baselines import measure_baselines
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.data.targets import num_targets
from lightning_croloss.models import RetrievalModel
from lightning_croloss.models.evaluation import EXCLUDED_TARGETS

#: Each metric @N of the test, and the number of targets that the lists leave out.
Tested = tuple[dict[str, float], int]


def measure(
    model: RetrievalModel,
    data: RetrievalDataModule,
    choose_by: int | None = None,
    known: Tested | None = None,
) -> dict[str, Any]:
    """Measure a model and the simple baselines on the test rows of its data.

    Args:
        model: the model, with the weights that are stored.
        data: its data.
        choose_by: the N by whose validation Recall the baselines are chosen; None is the middle one.
        known: what :func:`tested` has returned of this model already; None measures it.

    Returns:
        ``data`` (counts), ``parameters``, ``choose_by``, ``exclude_history``, ``test`` (each metric @N) and
        ``baselines``.
    """
    ns = list(model.metric_cutoffs)
    choose_by = choose_by or statistics.median_low(ns)
    test, excluded = known or tested(model, data)
    rows, measured = data.rows, data.measured_rows("test")
    return {
        "data": {
            "users": data.num_users,
            "items": data.num_items,
            "interactions": len(data.interactions),
            "training_events": int(rows.training_events.sum()),
            "test_users": len(measured),
            "test_targets": int(num_targets(data.interactions, measured).sum()),
            **({"excluded_targets": excluded} if excluded else {}),
        },
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "choose_by": choose_by,
        "exclude_history": model.exclude_history,
        "test": test,
        "baselines": measure_baselines(data, ns, model.exclude_history, choose_by),
    }


def tested(model: RetrievalModel, data: RetrievalDataModule) -> Tested:
    """Measure a model on the test rows of its data."""
    with _quiet():
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.test(model, data, verbose=False)
    test = {
        name.removeprefix("test/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("test/") and "@" in name
    }
    return test, int(trainer.callback_metrics.get(f"test/{EXCLUDED_TARGETS}", 0))


def figures_of(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the figures that can be measured again, by name."""
    found = {f"data {name}": value for name, value in metrics["data"].items()}
    found["parameters"] = metrics["parameters"]
    found |= metrics["test"]
    for baseline, measured in metrics["baselines"].items():
        found |= {f"{baseline} {name}": value for name, value in measured["setting"].items()}
        found[f"{baseline} valid recall@{metrics['choose_by']}"] = measured["valid"]
        found |= {f"{baseline} {name}": value for name, value in measured["test"].items()}
    return found


def best_baseline(metrics: dict[str, Any]) -> str:
    """Return the name of the baseline that was best on validation."""
    baselines: dict[str, dict[str, Any]] = metrics["baselines"]
    return max(baselines, key=lambda name: float(baselines[name]["valid"]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks about a trainer that nobody sees from the output."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
