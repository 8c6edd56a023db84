"""Train a small model with each temperature, and print Recall@50 beside what the loss saw of its scores.

python -m benchmarks.temperature                                  # every kernel, scores and temperature
python -m benchmarks.temperature --kernels exp --temperatures 1 3

The model is the mean of the last 20 items through one layer, on RecBole's ml-100k (the extra [recbole]); each
user's last item is the target. "cosine" has unit vectors. "layer norm" normalises the user's vector as SASRec
does, and its items begin as ``nn.Embedding`` makes them, from N(0, 1).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.common.command import command_parser
from lightning_croloss.losses import BPRLoss, CROLoss, RetrievalLoss, TripletLoss

HISTORY, WIDTH, BATCH, NEGATIVES, EPOCHS = 20, 32, 768, 256, 4
KERNELS = ("sigmoid", "exp", "softplus", "hinge", "bpr", "triplet")
TEMPERATURES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class MeanOfHistory(nn.Module):
    """The mean of a history's items, through one layer.

    Args:
        num_items: N.
        scores: "cosine" or "layer norm".
    """

    def __init__(self, num_items: int, scores: str) -> None:
        super().__init__()
        self.unit = scores == "cosine"
        self.item = nn.Embedding(num_items + 1, WIDTH, padding_idx=0)
        if self.unit:
            nn.init.normal_(self.item.weight[1:], std=0.1)
        self.layer, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def users(self, history: Tensor) -> Tensor:
        """Return (B, D) of histories (B, L)."""
        mean = self.item(history).sum(1) / (history != 0).sum(1, keepdim=True)
        hidden = mean + self.layer(mean)
        return nn.functional.normalize(hidden, dim=-1) if self.unit else self.norm(hidden)

    def items(self, ids: Tensor) -> Tensor:
        """Return (n, D) of ids (n,)."""
        vectors = self.item(ids)
        return nn.functional.normalize(vectors, dim=-1) if self.unit else vectors


def sequences() -> list[np.ndarray]:
    """Return each user's items 1 … N, the oldest first."""
    found = find_spec("recbole")
    if found is None or found.origin is None:
        raise SystemExit(
            "python -m benchmarks.temperature reads RecBole's ml-100k: install the extra [recbole]"
        )
    table = pd.read_csv(Path(found.origin).parent / "dataset_example/ml-100k/ml-100k.inter", sep="\t")
    table.columns = pd.Index(["user", "item", "rating", "time"])
    table["item"] = table["item"].rank(method="dense").astype(int)
    table = table.sort_values(["user", "time"], kind="stable")
    return [items.to_numpy() for _, items in table.groupby("user")["item"]]


def rows(users: list[np.ndarray], last: bool) -> tuple[Tensor, Tensor]:
    """Return histories (B, L) and targets (B,): each user's last item, or all between first and last."""
    histories, targets = [], []
    for items in users:
        padded = np.concatenate([np.zeros(HISTORY, dtype=int), items])
        for position in [len(items) - 1] if last else range(1, len(items) - 1):
            histories.append(padded[position : position + HISTORY])
            targets.append(items[position])
    return torch.from_numpy(np.stack(histories)), torch.tensor(targets)


def loss_of(kernel: str, temperature: float, num_items: int) -> RetrievalLoss:
    """Return the loss of a kernel's name, or of that of a pairwise loss."""
    if kernel == "bpr":
        return BPRLoss(temperature, num_items)
    if kernel == "triplet":
        return TripletLoss(temperature=temperature, num_items=num_items)
    return CROLoss(kernel, temperature=temperature, num_items=num_items)


def train(users: list[np.ndarray], scores: str, kernel: str, temperature: float) -> tuple[float, list[float]]:
    """Return Recall@50 and the spread of d/τ at the first, the 100th and the last step."""
    torch.manual_seed(0)
    num_items = max(int(items.max()) for items in users)
    model, loss = MeanOfHistory(num_items, scores), loss_of(kernel, temperature, num_items)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    histories, targets = rows(users, last=False)
    spreads: list[float] = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(targets)).split(BATCH):
            drawn = torch.randint(1, num_items + 1, (NEGATIVES,))
            vectors, negatives = model.users(histories[batch]), model.items(drawn)
            own = targets[batch]
            value = loss.from_embeddings(
                vectors, model.items(own), negatives, target_ids=own, candidate_ids=drawn
            )
            with torch.no_grad():
                spreads.append(float((vectors @ negatives.T).std(1).median()) / temperature)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    histories, targets = rows(users, last=True)
    with torch.no_grad():
        all_scores = model.users(histories) @ model.items(torch.arange(1, num_items + 1)).T
        ranks = (all_scores >= all_scores.gather(1, (targets - 1).unsqueeze(1))).sum(1)
    middle = spreads[min(99, len(spreads) - 1)]
    return float((ranks <= 50).double().mean()), [spreads[0], middle, spreads[-1]]


def main() -> None:
    """Print a line for each setting."""
    parser = command_parser(__doc__)
    parser.add_argument("--kernels", nargs="+", default=KERNELS, choices=KERNELS)
    parser.add_argument("--temperatures", nargs="+", type=float, default=TEMPERATURES)
    given = parser.parse_args()
    torch.set_flush_denormal(True)
    users = sequences()
    print("| scores | kernel | τ | Recall@50 | spread of d/τ at step 1 | 100 | the last |")
    print("|---|---|---|---|---|---|---|")
    for scores in ("cosine", "layer norm"):
        for kernel in given.kernels:
            for temperature in given.temperatures:
                recall, spreads = train(users, scores, kernel, temperature)
                seen = " | ".join(f"{spread:.3g}" for spread in spreads)
                print(f"| {scores} | {kernel} | {temperature:g} | {recall:.3f} | {seen} |", flush=True)


if __name__ == "__main__":
    main()
