"""Small models and trainers for tuning, and a plain module that knows nothing of this package but a loss."""

import functools

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn.functional import normalize
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader, TensorDataset

from lightning_croloss import CROLoss, RecallAtN, UniformNegatives
from lightning_croloss.retrieval import target_ranks
from lightning_croloss.tuning import Candidate
from tests.data_for_tests import small_model

ITEMS = 40


class Plain(LightningModule):
    """Embeds the last item; draws negatives and dropout from the global generator."""

    def __init__(self, loss, name="val/recall"):
        super().__init__()
        self.table = nn.Embedding(ITEMS + 1, 8)
        self.dropout = nn.Dropout(0.2)
        self.loss = loss
        self.recall = RecallAtN(ns=(5, 10))
        self.name = name

    def users(self, history):
        return normalize(self.dropout(self.table(history)).mean(1), dim=-1)

    def items(self, ids):
        return normalize(self.table(ids), dim=-1)

    def training_step(self, batch, batch_idx):
        history, target = batch
        drawn = torch.randint(1, ITEMS + 1, (20,))
        loss = self.loss.from_embeddings(
            self.users(history), self.items(target), self.items(drawn), target_ids=target, candidate_ids=drawn
        )
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        history, target = batch
        catalogue = self.items(torch.arange(1, ITEMS + 1))
        self.recall.update(target_ranks(self.users(history).unsqueeze(1), catalogue, target.unsqueeze(1)))

    def on_validation_epoch_end(self):
        for name, value in self.recall.compute().items():
            self.log(name.replace("recall", self.name), value)
        self.recall.reset()

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.03)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": f"{self.name}@5", "strict": False},
        }


class PlainOnBatches(Plain):
    """The same on the batches of a data module of this package, whose loader can be taken up anywhere."""

    def training_step(self, batch, batch_idx):
        return super().training_step((batch.history, batch.first_targets), batch_idx)

    def validation_step(self, batch, batch_idx):
        super().validation_step((batch.history, batch.first_targets), batch_idx)


def plain_data():
    generator = torch.Generator().manual_seed(0)
    topics = torch.randint(4, (150, 1), generator=generator)
    items = 1 + topics * 10 + torch.randint(10, (150, 5), generator=generator)
    dataset = TensorDataset(items[:, :-1], items[:, -1])
    return DataLoader(dataset, 16, shuffle=True), DataLoader(dataset, 50)


class Positioned(DataLoader):
    """Knows its position in the epoch; like any loader of torch it draws a number when it is iterated."""

    position = 0

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]

    def __iter__(self):
        return self._rest(super().__iter__())

    def _rest(self, batches):
        begin = self.position % len(self)
        for number, batch in enumerate(batches):
            if number >= begin:
                self.position = number + 1
                yield batch


def retrieval_model(loss=None, **kwargs):
    return small_model(
        loss=loss,
        history_dropout=0.3,
        negatives=UniformNegatives(20),
        optimizer=functools.partial(torch.optim.Adam, lr=0.03),
        lr_scheduler=functools.partial(ExponentialLR, gamma=0.95),
        lr_scheduler_interval="step",
        **kwargs,
    )


def plain_model(loss=None):
    return Plain(CROLoss(num_items=ITEMS) if loss is None else loss)


def candidates():
    """Three losses that end differently."""
    return [
        Candidate(
            "softmax, temperature 0.2", {"class_path": "SoftmaxLoss", "init_args": {"temperature": 0.2}}
        ),
        Candidate("softmax, temperature 5", {"class_path": "SoftmaxLoss", "init_args": {"temperature": 5.0}}),
        Candidate("exp, alpha 1.2", {"class_path": "CROLoss", "init_args": {"kernel": "exp", "alpha": 1.2}}),
    ]
