"""Models of users' ids: BPR, LightGCN and NGCF here and in RecBole, by the same split, settings and epochs.

MovieLens-100k as RecBole bundles it, in RecBole's default protocol: of each user 80 % of the events, drawn
at random, are for training, 10 % for validation, 10 % for test; the whole catalogue is ranked, without what
the user had in the parts before. The split is RecBole's own; this library gets its parts. BPR of dot products
with one negative drawn for each event, Adam, the regularisation of RecBole's configuration, no early
stopping: the epoch that is best by validation Recall@10 is tested, each side by its own evaluation.
"""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.recbole_models import our_side, recbole_side
from benchmarks.recbole_models.recbole_side import SEED, N
from lightning_croloss import (
    NGCF,
    BPRLoss,
    LightGCN,
    MatrixFactorization,
    Predefined,
    RetrievalModel,
    UniformNegatives,
)
from lightning_croloss.data import Interactions, RetrievalDataModule, Vocabulary

DIM, BATCH, RATE, EPOCHS, EVERY = 64, 2048, 0.01, 20, 4
#: Name in RecBole, and the arguments of our class.
MODELS: dict[str, tuple[type[RetrievalModel], dict[str, Any]]] = {
    "BPR": (MatrixFactorization, {}),
    "LightGCN": (LightGCN, {"num_layers": 2, "regularization": 1e-5}),
    "NGCF": (NGCF, {"hidden_dims": (64, 64, 64), "message_dropout": 0.1, "regularization": 1e-5}),
}
#: RecBole's settings.
GIVEN: dict[str, Any] = {
    "dataset": "ml-100k",
    "epochs": EPOCHS,
    "eval_step": EVERY,
    "stopping_step": EPOCHS,
    "train_batch_size": BATCH,
    "learning_rate": RATE,
    "embedding_size": DIM,
    "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "RO", "mode": "full"},
}


def theirs(model: str) -> dict[str, float]:
    """Train and test RecBole's model."""
    return recbole_side.train_and_test(model, GIVEN)


class Parts(RetrievalDataModule):
    """The three parts of RecBole's split.

    Args:
        model: whose configuration reads them.
    """

    def __init__(self, model: str) -> None:
        super().__init__(split=Predefined(), batch_size=BATCH, max_history=1, seed=SEED)
        self.model = model

    def load(self) -> Interactions:
        """Return the events with the part of each."""
        with tempfile.TemporaryDirectory() as folder, recbole_side.inside(folder):
            _, dataset, loaders = recbole_side.prepared(self.model, GIVEN, folder)
        parts = [loader.dataset.inter_feat for loader in loaders]
        columns = [np.concatenate([part[name].numpy() for part in parts]) for name in ("user_id", "item_id")]
        numbers = np.repeat(np.arange(3), [len(part) for part in parts])
        users, items = (
            Vocabulary([str(number) for number in range(1, dataset.num(name))])
            for name in ("user_id", "item_id")
        )
        return Interactions.from_ids(columns[0], columns[1], users, items, parts=numbers)


def ours(model: str) -> dict[str, float]:
    """Train and test our model."""
    data = Parts(model)
    cls, arguments = MODELS[model]
    built = cls(
        num_items=data.num_items,
        num_users=data.num_users,
        embedding_dim=DIM,
        loss=BPRLoss(temperature=1.0),
        negatives=UniformNegatives(1, shared=False, exclude_known_positives=True),
        similarity="dot",
        ns=(N,),
        exclude_history=True,
        optimizer=partial(torch.optim.Adam, lr=RATE),
        **arguments,
    )
    return our_side.train_and_test(built, data, EPOCHS, every=EVERY, counted=EVERY)
