"""What stands in a RecBole model for its CrossEntropyLoss or BPRLoss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.integrations.given_loss import given_loss
from lightning_croloss.integrations.recbole_fit import agree, unfit
from lightning_croloss.integrations.recbole_settings import read_settings
from lightning_croloss.losses import CROLoss


class RetrievalCriterion(nn.Module):
    """Is called as the criterion that it replaces, and computes another loss.

    Args:
        model: name of the model, for errors.
        settings: arguments of CROLoss, ``in_batch`` and ``cosine``; None = nothing is said.
        item_counts: (num_items + 1,) how often each item is a target of training, or its share.
        ignored: a label that is no item.
    """

    item_counts: Tensor

    def __init__(self, model: str, settings: Any, item_counts: Tensor, ignored: int) -> None:
        super().__init__()
        arguments, self.in_batch, self.cosine = read_settings(settings)
        self.loss = given_loss(CROLoss(**{"num_items": len(item_counts) - 1, **arguments}))
        self.model, self.ignored, self.fits = model, ignored, False
        self.register_buffer("item_counts", item_counts, persistent=False)
        self.expect(None, None)

    def expect(self, batch: Any, ids: Any, vectors: tuple[Any, Any] = (None, None)) -> None:
        """Take what the next call is about: a batch, its targets (B,), users (B, D) and items (by id, D)."""
        self.batch, self.ids, self.vectors = batch, ids, vectors  # a tuple: a table is no parameter of ours

    def check_called(self) -> None:
        """Raise ``ValueError`` if the loss of the batch was never asked for."""
        if self.batch is not None:
            raise ValueError(f"{self.model}.calculate_loss does not call the criterion that was replaced")

    def forward(self, scores: Tensor, other: Tensor) -> Tensor:
        """Return the loss, of logits (B, C) and labels (B,) or of (B,) scores of positives and negatives."""
        ids, (users, items), logits = self.ids, self.vectors, scores.dim() > 1
        self.expect(None, None)  # so that no graph is kept
        if self.in_batch or self.cosine or not logits:
            self.fits = self.fits or agree(users, items, ids, scores)
            if not self.fits:
                raise unfit(self.model)
        if logits and not self.in_batch:
            padding = torch.arange(scores.shape[-1], device=scores.device) == 0
            return self.loss.from_logits(scores, other, mask=padding, ignore_index=self.ignored)
        items = items[: len(self.item_counts)]
        if self.in_batch:
            return self.loss.in_batch(users, items[ids], item_ids=ids, item_counts=self.item_counts)
        every = torch.arange(1, len(items), device=ids.device)
        return self.loss.from_embeddings(users, items[ids], items[1:], target_ids=ids, candidate_ids=every)
