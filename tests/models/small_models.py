"""Small models of the tests, a loss that breaks, and what is done with them."""

import functools
import math

import torch
from torch import nn

from lightning_croloss import SoftmaxLoss, YouTubeDNN
from lightning_croloss.data import RetrievalBatch
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

HISTORIES = [[1, 2, 3, 4, 5, 6], [11, 12]]
FAST_ADAM = functools.partial(torch.optim.Adam, lr=0.02)


class ThreeInterests(YouTubeDNN):
    """Three vectors for each user."""

    def __init__(self, num_items: int, **kwargs) -> None:
        super().__init__(num_items, **kwargs)
        self.interests = nn.Linear(self.embedding_dim, 3 * self.embedding_dim)

    def encode_users(self, batch: RetrievalBatch):
        return self.normalize(self.interests(super().encode_users(batch)).unflatten(-1, (3, -1)).squeeze(1))


class BreakingLoss(SoftmaxLoss):
    """Becomes NaN at its call number ``after``, counted from 0."""

    def __init__(self, after: int) -> None:
        super().__init__(temperature=0.25)
        self.after = after
        self.calls = 0

    def row_losses(self, batch):
        self.calls += 1
        return super().row_losses(batch) * (math.nan if self.calls > self.after else 1.0)


def validate(model, data=None):
    (metrics,) = quiet_trainer().validate(model, data or ClusteredData(), verbose=False)
    return metrics


def saved(path, model=None, data=None):
    """Train for a moment and save; return the model."""
    model = small_model() if model is None else model
    fit(model, data, limit_train_batches=2).save_checkpoint(path)
    return model
