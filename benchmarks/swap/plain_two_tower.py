"""A plain PyTorch loop: two towers, negatives in the batch.

The user is the mean of the vectors of the latest films, an item has a vector of its own; both are normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.swap.data import Split, padded
from lightning_croloss import CROLoss, SoftmaxLoss

FRAMEWORK = "plain PyTorch two-tower"
LOSSES = {"cross_entropy": 0, "SoftmaxLoss, logQ": 2, "CROLoss exp α 1.2, logQ": 2}
TEMPERATURES = (0.1, 0.2, 0.5, 1.0, 2.0)

DIM, LENGTH, BATCH, EPOCHS, LEARNING_RATE = 32, 20, 512, 6, 5e-3


class TwoTower(nn.Module):
    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.history = nn.EmbeddingBag(num_items + 1, DIM, mode="mean", padding_idx=0)
        self.item = nn.Embedding(num_items + 1, DIM, padding_idx=0)

    def users(self, histories: Tensor) -> Tensor:
        return F.normalize(self.history(histories), dim=-1)

    def items(self, ids: Tensor) -> Tensor:
        return F.normalize(self.item(ids), dim=-1)


def run(split: Split, loss: str, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    model = TwoTower(split.num_items)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    new = None
    if loss.startswith("SoftmaxLoss"):
        new = SoftmaxLoss(temperature=temperature)
    elif loss.startswith("CROLoss"):
        new = CROLoss(kernel="exp", alpha=1.2, temperature=temperature)
    _, histories, targets = split.samples(LENGTH)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(targets)).split(BATCH):
            users, items = model.users(histories[rows]), model.items(targets[rows])
            if new is None:
                value = F.cross_entropy(users @ items.T / temperature, torch.arange(len(rows)))
            else:
                value = new.in_batch(users, items, item_ids=targets[rows], item_counts=split.item_counts)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    with torch.no_grad():
        catalogue = model.items(torch.arange(1, split.num_items + 1))
        valid, test = (
            model.users(padded(histories, LENGTH)) @ catalogue.T
            for histories in (split.train, split.test_histories)
        )
    return valid, test
