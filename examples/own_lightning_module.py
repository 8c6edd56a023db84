"""CROLoss in a LightningModule of your own, with the N that it trains for annealed by CROLossCallback.

Run: python examples/own_lightning_module.py
The loss is an attribute of the module, where the callback finds it; embeddings and ids go in.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, TensorDataset

from lightning_croloss import CROLoss, CROLossCallback, RecallAtN, TargetNImportance
from lightning_croloss.callbacks import Geometric
from lightning_croloss.retrieval import target_ranks

TOPICS, ITEMS, LENGTH, NEGATIVES = 50, 1_000, 8, 500


class NextItem(pl.LightningModule):
    """A GRU reads the history; the next item's vector should be near its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(ITEMS + 1, 32, padding_idx=0)
        self.gru = torch.nn.GRU(32, 32, batch_first=True)
        self.loss = CROLoss(importance=TargetNImportance(n=20), temperature=0.1, num_items=ITEMS)
        self.recall = RecallAtN(ns=(20,))

    def users(self, history: torch.Tensor) -> torch.Tensor:
        """Return (B, 32) unit vectors of (B, LENGTH) histories."""
        return normalize(self.gru(self.table(history))[0][:, -1], dim=-1)

    def items(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (..., 32) unit vectors of item ids, 1 … ITEMS."""
        return normalize(self.table(ids), dim=-1)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Compare the next item with items drawn uniformly; the ids keep it from meeting itself."""
        history, target = batch
        drawn = torch.randint(1, ITEMS + 1, (NEGATIVES,), device=self.device)
        users, positives, negatives = self.users(history), self.items(target), self.items(drawn)
        return self.loss.from_embeddings(users, positives, negatives, target_ids=target, candidate_ids=drawn)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Rank the next item among all items; the metric adds up over batches and devices."""
        history, target = batch
        catalogue = self.items(torch.arange(1, ITEMS + 1, device=self.device))
        self.recall.update(target_ranks(self.users(history).unsqueeze(1), catalogue, target.unsqueeze(1)))

    def on_validation_epoch_end(self) -> None:
        """Log val/recall@20."""
        self.log_dict({f"val/{name}": value for name, value in self.recall.compute().items()})
        self.recall.reset()

    def on_train_epoch_end(self) -> None:
        """Print the scheduled n, the positives' mean rank as the loss estimates it, and Recall@20."""
        n, rank = self.loss.schedulable()["n"], self.loss.diagnostics["soft_rank"]
        recall = self.trainer.callback_metrics["val/recall@20"]
        print(f"epoch {self.current_epoch + 1}: n {n:.0f}, soft rank {rank:.0f}, recall@20 {recall:.3f}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam, or what the module had before."""
        return torch.optim.Adam(self.parameters(), lr=0.03)


def sessions(users: int) -> TensorDataset:
    """Return histories and next items: a user stays with the items of one topic, four times out of five."""
    topical = torch.randint(TOPICS, (users, 1)) + TOPICS * torch.randint(ITEMS // TOPICS, (users, LENGTH + 1))
    strays = torch.randint(ITEMS, topical.shape)
    items = torch.where(torch.rand(topical.shape) < 0.8, topical, strays) + 1
    return TensorDataset(items[:, :-1], items[:, -1])


if __name__ == "__main__":
    pl.seed_everything(0)
    train, valid = DataLoader(sessions(8_000), 200, shuffle=True), DataLoader(sessions(1_000), 200)
    model = NextItem()
    anneal = CROLossCallback(n=Geometric(start=500, end=20, until=0.5))  # first every rank, then the top 20
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_epochs=6, callbacks=[anneal], **quiet)
    print(f"before: recall@20 {trainer.validate(model, valid, verbose=False)[0]['val/recall@20']:.3f}")
    trainer.fit(model, train, valid)
    print(f"after: recall@20 {trainer.validate(model, valid, verbose=False)[0]['val/recall@20']:.3f}")
