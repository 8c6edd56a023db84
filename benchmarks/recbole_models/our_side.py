"""This library's side: training for all epochs, and the test of the best."""

from __future__ import annotations

import time

from benchmarks.common.training import BestEpoch, quiet_trainer
from benchmarks.recbole_models.recbole_side import FIGURES, N
from lightning_croloss import RetrievalModel
from lightning_croloss.data import RetrievalDataModule


def train_and_test(
    model: RetrievalModel, data: RetrievalDataModule, epochs: int, every: int, counted: int
) -> dict[str, float]:
    """Train a model for all epochs, and test the best.

    Args:
        model: the model.
        data: its data.
        epochs: their number.
        every: how many there are between validations.
        counted: for how many epochs of RecBole these count.

    Returns:
        As RecBole's side does.
    """
    best = BestEpoch(f"recall@{N}")
    trainer = quiet_trainer(
        epochs,
        [best],
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=every,
    )
    begun = time.process_time()
    trainer.fit(model, data)
    seconds = time.process_time() - begun
    model.load_state_dict(best.weights)
    (tested,) = trainer.test(model, data, verbose=False)
    figures = {short: tested[f"test/{name}"] for short, name in FIGURES.items()}
    top = max(best.valid)
    epoch = counted * (best.valid.index(top) + 1)
    return {"valid": top, "epoch": epoch, "fit_seconds": seconds, **figures}
