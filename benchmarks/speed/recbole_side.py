"""RecBole as its users run it: its configuration, its preparation, its trainer. Needs the peer to import.

Only what keeps RecBole 1.2.1 from running under NumPy 2 is replaced, and the names that NumPy dropped and
RecBole still uses are put back, as RecBole itself does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.sequential_recommender import NPE, BERT4Rec, GRU4Rec, SASRec
from recbole.trainer import Trainer
from recbole.utils import init_logger, init_seed
from torch import Tensor, nn

Batch = Any
# the import turns it on for the whole process, and every training slow, ours too
torch.autograd.set_detect_anomaly(False)


class RunnableConfig(Config):
    """RecBole's configuration under NumPy 2, deaf to the benchmark's own command line."""

    def compatibility_settings(self) -> None:
        for name, kind in (("float", float), ("int", int), ("object", object), ("str", str)):
            if name not in vars(np):
                setattr(np, name, kind)

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}


class MeanPool(SequentialRecommender):
    """The mean of the history through one linear map, with full cross-entropy: RecBole has no such model.

    Written as RecBole writes its own, and the same as ``YouTubeDNN(hidden_dims=[], similarity="dot")``.
    """

    def __init__(self, config: Config, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"], padding_idx=0)
        self.dense = nn.Linear(config["embedding_size"], config["embedding_size"])
        self.loss_fct = nn.CrossEntropyLoss()

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        mean = self.item_embedding(item_seq).sum(dim=1) / item_seq_len.unsqueeze(1)
        return self.dense(mean)

    def calculate_loss(self, interaction: Batch) -> Tensor:
        output = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        logits = torch.matmul(output, self.item_embedding.weight.transpose(0, 1))
        return self.loss_fct(logits, interaction[self.POS_ITEM_ID])

    def full_sort_predict(self, interaction: Batch) -> Tensor:
        output = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return torch.matmul(output, self.item_embedding.weight.transpose(0, 1))


MODELS = {"mean pool": MeanPool, "NPE": NPE, "GRU": GRU4Rec, "SASRec": SASRec, "BERT4Rec": BERT4Rec}


def configure(model: str, dataset: str = "ml-100k", folder: Path | None = None, **settings: Any) -> Config:
    """Return a configuration: leave-one-out in the order of time, ranks over all items, no output.

    Args:
        model: a name of :data:`MODELS`.
        dataset: its name; ml-100k is bundled with RecBole.
        folder: the folder that contains that of another dataset.
        **settings: RecBole settings.
    """
    given: dict[str, Any] = {
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "dropout_prob": 0.0,
        "use_gpu": False,
        "state": "ERROR",
        "show_progress": False,
        "learning_rate": 0.001,
        **settings,
    }
    if folder is not None:
        given["data_path"] = str(folder)
    config = RunnableConfig(model=MODELS[model], dataset=dataset, config_dict=given)
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    return config


def prepared(config: Config) -> tuple[Any, Any, Any]:
    """Return the loaders of training, validation and test."""
    return data_preparation(config, create_dataset(config))


def trainer(config: Config, train_data: Any) -> Trainer:
    """Return a trainer of a new model."""
    return Trainer(config, config.model_class(config, train_data._dataset).to(config["device"]))
