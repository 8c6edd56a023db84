"""RecBole as its users run it: its data, its trainer, its evaluation; the best epoch is tested."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import dok_matrix

N, SEED = 10, 2020
#: Test figures of a run, by their names in both libraries.
FIGURES = {"test": f"recall@{N}", "ndcg": f"ndcg@{N}"}
#: What every configuration says.
COMMON: dict[str, Any] = {
    "seed": SEED,
    "use_gpu": False,
    "gpu_id": "",
    "state": "ERROR",
    "show_progress": False,
    "topk": [N],
    "metrics": ["Recall", "NDCG"],
    "metric_decimal_place": 6,
    "valid_metric": f"Recall@{N}",
}


def put_back() -> None:
    """Give NumPy and SciPy back what RecBole 1.2.1 calls and they no longer have."""
    if not hasattr(np, "float"):
        setattr(np, "float", float)  # noqa: B010, its batches ask for it
    if not hasattr(dok_matrix, "_update"):  # which it fills its graphs with
        setattr(dok_matrix, "_update", lambda matrix, entries: matrix._dict.update(entries))  # noqa: B010


def prepared(model: str, given: Mapping[str, Any], folder: str) -> tuple[Any, Any, list[Any]]:
    """Return RecBole's configuration of a model, its data, and its loaders of the three parts.

    Args:
        model: its name in RecBole.
        given: settings besides :data:`COMMON`, with the name of the data, and where it lies if RecBole does
            not bring it.
        folder: where it may write.
    """
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    from benchmarks.recbole_models.recbole_config import QuietConfig

    put_back()
    config = QuietConfig(model=model, config_dict={**COMMON, "checkpoint_dir": folder, **given})
    logging.getLogger().setLevel(logging.ERROR)
    init_seed(SEED, True)
    dataset = create_dataset(config)
    return config, dataset, list(data_preparation(config, dataset))


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Work in a folder, and come back."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def train_and_test(model: str, given: Mapping[str, Any]) -> dict[str, float]:
    """Train RecBole's model for all epochs, and test the best by its own evaluation.

    Returns:
        "valid": the best validation Recall; "epoch": its number, from 1; "fit_seconds": of the processor, for
        all epochs; "test" and "ndcg": Recall and NDCG of the test.
    """
    from recbole.utils import get_model, get_trainer

    with tempfile.TemporaryDirectory() as folder, inside(folder):  # it writes a log
        config, _, (train, valid, test) = prepared(model, given, folder)
        cls = get_model(model)
        torch.autograd.set_detect_anomaly(False)  # RecBole's import turns it on, and training slow
        built = cls(config, train.dataset)
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, built)
        best, best_epoch, weights = -1.0, 0, {}

        def note(epoch: int, value: float) -> None:
            nonlocal best, best_epoch, weights
            if value > best:
                best, best_epoch = float(value), epoch + 1
                weights = {name: tensor.clone() for name, tensor in built.state_dict().items()}

        begun = time.process_time()
        trainer.fit(train, valid, saved=False, show_progress=False, callback_fn=note)
        seconds = time.process_time() - begun
        built.load_state_dict(weights)
        tested = trainer.evaluate(test, load_best_model=False, show_progress=False)
    figures = {short: float(tested[name]) for short, name in FIGURES.items()}
    return {"valid": best, "epoch": best_epoch, "fit_seconds": seconds, **figures}
