"""RecBole's GRU4Rec: its cross-entropy and its BPR against CROLoss over the whole catalogue."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmarks.swap.data import Split
from benchmarks.swap.recbole_models import fit

FRAMEWORK = "RecBole GRU4Rec"
LOSSES = {
    "CE": 0,
    "BPR": 0,
    "CROLoss exp α 1.2": 2,
    "CE, cosine": 2,
    "CROLoss exp α 1.2, cosine": 2,
}
TEMPERATURES = (0.05, 0.1, 0.14, 0.3, 1.0)
SETTINGS = {"hidden_size": 32, "dropout_prob": 0.2, "epochs": 3, "learning_rate": 5e-3}


def run(split: Split, loss: str, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    settings: dict[str, Any] = {**SETTINGS, "loss_type": "CE", "train_neg_sample_args": None}
    if loss == "BPR":
        settings |= {"loss_type": "BPR"}
        del settings["train_neg_sample_args"]
    elif loss != "CE":
        alpha = 1.2 if loss.startswith("CROLoss") else 1.0
        settings["retrieval_loss"] = {
            "kernel": "exp",
            "alpha": alpha,
            "temperature": temperature,
            "cosine": "cosine" in loss,
        }
    return fit(split, "GRU4Rec", settings, temperature if loss in ("CE", "BPR") else None, seed)
