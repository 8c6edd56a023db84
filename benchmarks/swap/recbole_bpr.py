"""RecBole's BPR, a matrix factorisation: its loss of one drawn negative against CROLoss over all items."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmarks.swap.data import Split
from benchmarks.swap.recbole_models import fit

FRAMEWORK = "RecBole BPR"
LOSSES = {
    "BPR": 0,
    "CROLoss exp α 1.2": 2,
    "CROLoss exp α 1.2, in_batch": 2,
    "CROLoss exp α 1.2, cosine": 2,
}
TEMPERATURES = (0.1, 0.3, 1.0, 3.0)
SETTINGS = {"epochs": 8, "learning_rate": 1e-2, "train_batch_size": 2048}


def run(split: Split, loss: str, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    if loss == "BPR":
        return fit(split, "BPR", SETTINGS, temperature, seed)
    new: dict[str, Any] = {"kernel": "exp", "alpha": 1.2, "temperature": temperature}
    new |= {name: True for name in ("in_batch", "cosine") if name in loss}
    return fit(split, "BPR", SETTINGS | {"retrieval_loss": new}, None, seed)
