"""Small sequence models, and batches for them."""

from typing import Any

import torch

from lightning_croloss import (
    HSTU,
    BSARec,
    ESASRec,
    GRU4Rec,
    SASRec,
    SequenceModel,
    UniformNegatives,
)
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.models.sequence_model import TRAIN_ON

#: Those that can train on all positions.
MODELS = (GRU4Rec, SASRec, ESASRec, HSTU)
#: Every one, with each way to train it.
WAYS = [(cls, how) for cls in (*MODELS, BSARec) for how in TRAIN_ON if how == "last" or cls in MODELS]
ARCHITECTURE: dict[str, dict[str, Any]] = {
    "GRU4Rec": {"hidden_dims": (16,)},
    "BSARec": {"feedforward_dim": 16, "max_length": 20},
    "ESASRec": {"feedforward_multiplier": 2, "max_length": 20},
    "HSTU": {"max_length": 20},
    "SASRec": {"feedforward_dim": 16, "max_length": 20},
}


def small_sequence_model(cls: type[SequenceModel], **kwargs: Any) -> Any:
    """Build a model for ``ClusteredData``, always with the same weights."""
    torch.manual_seed(0)
    defaults: dict[str, Any] = {
        "num_items": 40,
        "embedding_dim": 8,
        "negatives": UniformNegatives(30),
        "ns": (5, 10, 20),
    }
    return cls(**{**defaults, **ARCHITECTURE[cls.__name__], **kwargs})


def batch_of(*histories: list[int], targets: Any = None) -> RetrievalBatch:
    """Make a batch of histories of one length, by default with their last events as targets."""
    history = torch.tensor(histories)
    targets = history[:, -1:] if targets is None else torch.as_tensor(targets)
    return RetrievalBatch(history, targets, users=torch.arange(1, len(history) + 1))
