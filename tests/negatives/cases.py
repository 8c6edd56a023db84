"""Batches and catalogues for samplers."""

import torch
from lightning.pytorch import Callback

from lightning_croloss.data import RetrievalBatch

NUM_ITEMS = 12
COUNTS = torch.tensor([0, 50, 0, 3, 7, 1, 20, 20, 2, 9, 4, 11, 30])  # item 2 was never seen


def batch_of(rows=4, known_positives=None):
    ids = torch.ones(rows, 3, dtype=torch.long)
    return RetrievalBatch(ids, targets=ids[:, :1], users=ids[:, 0], known_positives=known_positives)


def ready(sampler, num_items=40):
    """Tell a sampler its catalogue and the counts 1, 2, 3, … of its items."""
    sampler.set_num_items(num_items)
    counts = torch.arange(num_items + 1)
    sampler.prepare(counts, counts)
    return sampler


class Steps(Callback):
    """Keeps the batches of training."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch)


def batch_with(targets):
    targets = torch.as_tensor(targets)
    history = torch.zeros(len(targets), 1, dtype=torch.long)
    return RetrievalBatch(history, targets=targets.unsqueeze(1), users=torch.ones_like(targets))


def counted(sampler):
    """Tell a sampler its catalogue and ``COUNTS``."""
    sampler.set_num_items(NUM_ITEMS)
    sampler.prepare(COUNTS, COUNTS)
    return sampler


def popular_targets(rows):
    """Draw targets as training does: each as often as it is a target."""
    return torch.multinomial(COUNTS.double(), rows, replacement=True)
