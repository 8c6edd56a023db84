"""RecBole's models on the split of all swaps, which RecBole's own leave-one-out comes to as well."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.swap.data import Split, padded

LENGTH = 10
COMMON = {
    "data_path": "",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "MAX_ITEM_LIST_LENGTH": LENGTH,
    "embedding_size": 32,
    "train_batch_size": 512,
    "gpu_id": "",
    "use_gpu": False,
    "state": "ERROR",
    "show_progress": False,
}


class Scaled(nn.Module):
    """A criterion of RecBole's with the scores divided by a temperature."""

    def __init__(self, criterion: nn.Module, temperature: float) -> None:
        super().__init__()
        self.criterion, self.temperature = criterion, temperature

    def forward(self, scores: Tensor, other: Tensor) -> Tensor:
        if other.is_floating_point():  # BPRLoss: scores of positives and of negatives
            other = other / self.temperature
        return self.criterion(scores / self.temperature, other)


def fit(
    split: Split, name: str, settings: dict[str, Any], temperature: float | None, seed: int
) -> tuple[Tensor, Tensor]:
    """Train a model of RecBole, by its own loss with a temperature or else by ``retrieval_loss``.

    Returns:
        Scores (U, num_items) of validation and test, in the ids of the split.
    """
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.data.interaction import Interaction
    from recbole.utils import get_model, get_trainer, init_seed

    from lightning_croloss.integrations.recbole import RetrievalLossMixin

    class PatientConfig(Config):
        def compatibility_settings(self) -> None:
            """Leave out aliases that numpy 2 refuses."""

        def _load_cmd_line(self) -> dict[str, Any]:
            return {}  # it is the benchmark's

    if not hasattr(np, "float"):
        setattr(np, "float", float)  # noqa: B010, RecBole's batches ask for it
    logging.getLogger().setLevel(logging.ERROR)
    model_class = get_model(name)
    torch.autograd.set_detect_anomaly(False)  # RecBole's import turns it on, and training slow
    with tempfile.TemporaryDirectory() as folder:
        write(split, Path(folder) / "swap")
        given = {**COMMON, **settings, "data_path": folder, "checkpoint_dir": folder, "seed": seed}
        config = PatientConfig(model=name, dataset="swap", config_dict=given)
        init_seed(seed, True)
        dataset = create_dataset(config)
        training, _, _ = data_preparation(config, dataset)
        if temperature is None:
            model_class = type(name, (RetrievalLossMixin, model_class), {})
        model = model_class(config, training._dataset)
        if temperature is not None:
            criterion = next(n for n in ("loss_fct", "mf_loss", "loss") if hasattr(model, n))
            setattr(model, criterion, Scaled(getattr(model, criterion), temperature))
        trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
        trainer.fit(training, saved=False, show_progress=False)
    model.eval()
    users = torch.from_numpy(dataset.token2id("user_id", [f"u{u}" for u in range(split.num_users)]))
    items = torch.from_numpy(dataset.token2id("item_id", [f"i{i}" for i in range(split.num_items + 1)][1:]))
    to_recbole = torch.cat([torch.zeros(1, dtype=torch.long), items])
    scores = []
    for histories in (split.train, split.test_histories):
        batch = Interaction(
            {
                "user_id": users,
                "item_id_list": to_recbole[padded(histories, LENGTH)],
                "item_length": torch.tensor([min(len(history), LENGTH) for history in histories]),
            }
        )
        with torch.no_grad():
            scores.append(model.full_sort_predict(batch).view(split.num_users, -1)[:, items])
    return scores[0], scores[1]


def write(split: Split, folder: Path) -> None:
    """Write the events as RecBole's atomic files; their times are positions, which float32 holds exactly."""
    folder.mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user, events in enumerate(split.events):
        lines += [f"u{user}\ti{item}\t{time}" for time, item in enumerate(events.tolist())]
    (folder / "swap.inter").write_text("\n".join(lines) + "\n")
    every = [f"i{item}" for item in range(1, split.num_items + 1)]
    (folder / "swap.item").write_text("\n".join(["item_id:token", *every]) + "\n")
