"""CROLoss in a plain PyTorch loop: two embedding tables, scores in, a scalar out.

Run: python examples/plain_pytorch.py
To use it in your own loop, make the loss once and put the line with `loss(...)` where your loss was.
"""

import torch
from torch.nn.functional import normalize

from lightning_croloss import CROLoss, PowerImportance, RecallAtN
from lightning_croloss.retrieval import target_ranks

USERS, ITEMS, BOUGHT, NEGATIVES, EPOCHS = 1_000, 500, 16, 256, 8


def purchases() -> torch.Tensor:
    """Return (USERS, BOUGHT) item ids from 1, distinct per user: what suits the user's taste, with noise."""
    tastes = normalize(torch.randn(USERS, 6), dim=-1)
    traits = normalize(torch.randn(ITEMS, 6), dim=-1)
    noise = -torch.empty(USERS, ITEMS).exponential_().log()
    bought = (10 * tastes @ traits.T + noise).topk(BOUGHT).indices + 1
    return bought[:, torch.randperm(BOUGHT)]


class TwoTables(torch.nn.Module):
    """A unit vector for each user and each item: their dot products are cosines."""

    def __init__(self) -> None:
        super().__init__()
        self.user_table = torch.nn.Embedding(USERS, 32)
        self.item_table = torch.nn.Embedding(ITEMS + 1, 32, padding_idx=0)

    def users(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (..., 32)."""
        return normalize(self.user_table(ids), dim=-1)

    def items(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (..., 32)."""
        return normalize(self.item_table(ids), dim=-1)


def recall(model: TwoTables, train: torch.Tensor, held_out: torch.Tensor) -> float:
    """Return Recall@20 of the held-out items, among all items that the user has not bought in training."""
    users, items = model.users(torch.arange(USERS)), model.items(torch.arange(1, ITEMS + 1))
    metric = RecallAtN(ns=(20,))
    metric.update(target_ranks(users.unsqueeze(1), items, held_out, excluded=train))
    return float(metric.compute()["recall@20"])


torch.manual_seed(0)
bought = purchases()
train, held_out = bought[:, 1:], bought[:, :1]
pairs = torch.stack([torch.arange(USERS).repeat_interleave(BOUGHT - 1), train.flatten()], dim=1)
model = TwoTables()
loss = CROLoss(importance=PowerImportance(alpha=1.0), temperature=0.2, num_items=ITEMS)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

print(f"before: recall@20 {recall(model, train, held_out):.3f}")
for epoch in range(1, EPOCHS + 1):
    values = []
    for user, item in (batch.T for batch in pairs[torch.randperm(len(pairs))].split(1_000)):
        users, negatives = model.users(user), torch.randint(1, ITEMS + 1, (NEGATIVES,))
        positive_scores = (users * model.items(item)).sum(-1)  # (B,): scores of any model will do
        negative_scores = users @ model.items(negatives).T  # (B, M)
        accidental_hits = negatives == item.unsqueeze(1)  # (B, M): the positive is not its own negative
        value = loss(positive_scores, negative_scores, negative_mask=accidental_hits)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.detach())
    print(f"epoch {epoch}: loss {torch.stack(values).mean():.3f}")
print(f"after: recall@20 {recall(model, train, held_out):.3f}")
