"""RecTools' SASRec, whole catalogue, dot products.

RecTools trains on the latest ``LENGTH + 1`` events of each user. The temperature of its own loss is
``logits_t``.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.swap.data import Split

FRAMEWORK = "RecTools SASRec"
LOSSES = {"softmax": 0, "CROLoss exp α 1.2": 3}
#: Dot products are no cosines: the grid lies around 1.
TEMPERATURES = (0.2, 0.5, 1.0, 2.0)

DIM, LENGTH, BATCH, EPOCHS, LEARNING_RATE = 64, 50, 32, 12, 2e-3


def run(split: Split, loss: str, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    from lightning_croloss.integrations.rectools import RetrievalLossModule

    torch.manual_seed(seed)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    changed: dict[str, Any] = {"lightning_module_kwargs": {"logits_t": temperature}}
    if loss.startswith("CROLoss"):
        arguments = {"kernel": "exp", "alpha": 1.2, "temperature": temperature}
        changed = {
            "lightning_module_type": RetrievalLossModule,
            "lightning_module_kwargs": {"retrieval_loss": arguments},
        }
    model = SASRecModel(
        n_factors=DIM,
        n_blocks=1,
        n_heads=1,
        dropout_rate=0.2,
        session_max_len=LENGTH,
        batch_size=BATCH,
        epochs=EPOCHS,
        lr=LEARNING_RATE,
        **changed,
    )
    events = [
        (user, int(item), at) for user, items in enumerate(split.train) for at, item in enumerate(items)
    ]
    table = pd.DataFrame(events, columns=[Columns.User, Columns.Item, Columns.Datetime])
    table[Columns.Datetime] = pd.to_datetime(table[Columns.Datetime], unit="s")
    model.fit(Dataset.construct(table.assign(**{Columns.Weight: 1.0})))
    valid, test = (
        scores_of(model, histories, split.num_items) for histories in (split.train, split.test_histories)
    )
    return valid, test


def scores_of(model: Any, histories: list[Tensor], num_items: int) -> Tensor:
    """Return (U, num_items) scores; items that the training data lacks come last."""
    named = list(model.data_preparator.item_id_map.external_ids)[1:]  # the first one is padding
    items = torch.tensor([int(name) for name in named])
    tokens = torch.zeros(num_items + 1, dtype=torch.long)
    tokens[items] = torch.arange(1, len(items) + 1)
    latest = [tokens[history][tokens[history] != 0][-LENGTH:] for history in histories]
    batch = {"x": torch.stack([F.pad(events, (LENGTH - len(events), 0)) for events in latest])}
    network = model.torch_model.eval()
    scores = torch.full((len(histories), num_items), -torch.inf)
    with torch.no_grad():
        scores[:, items - 1] = network(batch)[:, -1, 1:]
    return scores
