"""LightGCN and NGCF here and in RecBole: the same split, settings and epochs.

MovieLens-100k as RecBole bundles it, in RecBole's default protocol: of each user 80 % of the events, drawn
at random, are for training, 10 % for validation, 10 % for test; the whole catalogue is ranked, without what
the user had in the parts before. The split is RecBole's own; this library gets its parts. BPR of dot products
with one negative drawn for each event, Adam, the regularisation of RecBole's configuration, no early
stopping: the epoch that is best by validation Recall@10 is tested, each side by its own evaluation.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import dok_matrix

from benchmarks.common.rows import Row, Settings
from benchmarks.common.training import BestEpoch, quiet_trainer, start_run
from lightning_croloss import NGCF, BPRLoss, LightGCN, Predefined, UniformNegatives
from lightning_croloss.data import Interactions, RetrievalDataModule, Vocabulary

N, DIM, BATCH, RATE, EPOCHS, EVERY = 10, 64, 2048, 0.01, 20, 4
SEED = 2020
#: Name in RecBole, and the arguments of our class.
MODELS: dict[str, tuple[type[LightGCN | NGCF], dict[str, Any]]] = {
    "LightGCN": (LightGCN, {"num_layers": 2, "regularization": 1e-5}),
    "NGCF": (NGCF, {"hidden_dims": (64, 64, 64), "message_dropout": 0.1, "regularization": 1e-5}),
}


def runs() -> list[Settings]:
    """Every model on both sides."""
    return [{"model": model, "side": side} for model in MODELS for side in ("RecBole", "here")]


def work(settings: Settings) -> Row:
    """Train for all epochs, and test the best: the work of one run."""
    start_run(SEED)
    side = of_recbole if settings["side"] == "RecBole" else ours
    started = time.perf_counter()
    valid, tested = side(settings["model"])
    return {
        "valid": round(valid, 5),
        "test": round(tested, 5),
        "seconds": round(time.perf_counter() - started),
    }


def recbole(model: str, folder: str) -> tuple[Any, Any, list[Any]]:
    """Return RecBole's configuration of a model, its data, and its loaders of the three parts."""
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    from benchmarks.graph.recbole_config import QuietConfig

    if not hasattr(np, "float"):
        setattr(np, "float", float)  # noqa: B010, RecBole's batches ask for it
    if not hasattr(dok_matrix, "_update"):  # which RecBole fills its graphs with, and scipy has no longer
        setattr(dok_matrix, "_update", lambda matrix, entries: matrix._dict.update(entries))  # noqa: B010
    given = {
        "checkpoint_dir": folder,
        "seed": SEED,
        "use_gpu": False,
        "gpu_id": "",
        "state": "ERROR",
        "show_progress": False,
        "epochs": EPOCHS,
        "eval_step": EVERY,
        "stopping_step": EPOCHS,
        "train_batch_size": BATCH,
        "learning_rate": RATE,
        "embedding_size": DIM,
        "topk": [N],
        "metrics": ["Recall"],
        "valid_metric": f"Recall@{N}",
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "RO", "mode": "full"},
    }
    config = QuietConfig(model=model, dataset="ml-100k", config_dict=given)
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


def of_recbole(model: str) -> tuple[float, float]:
    """Return validation and test Recall of RecBole's model, by RecBole's evaluation."""
    from recbole.utils import get_model, get_trainer

    with tempfile.TemporaryDirectory() as folder, inside(folder):  # it writes a log
        config, _, (train, valid, test) = recbole(model, folder)
        cls = get_model(model)
        torch.autograd.set_detect_anomaly(False)  # RecBole's import turns it on, and training slow
        built = cls(config, train.dataset)
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, built)
        best, weights = -1.0, {}

        def note(epoch: int, value: float) -> None:
            nonlocal best, weights
            if value > best:
                best = float(value)
                weights = {name: tensor.clone() for name, tensor in built.state_dict().items()}

        trainer.fit(train, valid, saved=False, show_progress=False, callback_fn=note)
        built.load_state_dict(weights)
        tested = trainer.evaluate(test, load_best_model=False, show_progress=False)
    return best, float(tested[f"recall@{N}"])


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
        with tempfile.TemporaryDirectory() as folder:
            _, dataset, loaders = recbole(self.model, folder)
        parts = [loader.dataset.inter_feat for loader in loaders]
        columns = [np.concatenate([part[name].numpy() for part in parts]) for name in ("user_id", "item_id")]
        numbers = np.repeat(np.arange(3), [len(part) for part in parts])
        users, items = (
            Vocabulary([str(number) for number in range(1, dataset.num(name))])
            for name in ("user_id", "item_id")
        )
        return Interactions.from_ids(columns[0], columns[1], users, items, parts=numbers)


def ours(model: str) -> tuple[float, float]:
    """Return validation and test Recall of our model."""
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
    best = BestEpoch(f"recall@{N}")
    trainer = quiet_trainer(
        EPOCHS, [best], check_val_every_n_epoch=EVERY, enable_checkpointing=False, num_sanity_val_steps=0
    )
    trainer.fit(built, data)
    built.load_state_dict(best.weights)
    (tested,) = trainer.test(built, data, verbose=False)
    return max(best.valid), tested[f"test/recall@{N}"]
