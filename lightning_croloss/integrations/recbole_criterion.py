"""What stands in a RecBole model for its CrossEntropyLoss or BPRLoss."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.loss import BPRLoss
from torch import Tensor, nn

from lightning_croloss.losses import CROLoss
from lightning_croloss.models.layers.unit_length import unit_length


class RetrievalCriterion(nn.Module):
    """Is called as the criterion that it replaces, and computes another loss.

    Args:
        model: name of the model, for errors.
        settings: arguments of CROLoss, ``in_batch`` and ``cosine``.
        item_counts: (num_items + 1,) how often each item is a target of training.
        ignored: a label that is no item.
    """

    item_counts: Tensor

    def __init__(self, model: str, settings: dict[str, Any], item_counts: Tensor, ignored: int) -> None:
        super().__init__()
        settings = {"num_items": len(item_counts) - 1, **settings}
        self.in_batch, self.cosine = settings.pop("in_batch", False), settings.pop("cosine", False)
        self.loss = CROLoss(**settings)
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
                raise ValueError(
                    f"{self.model} does not score by dot products of what its forward returns and of "
                    "item_embedding: leave out in_batch and cosine, with loss_type: CE, or take another model"
                )
        if logits and not self.in_batch:
            padding = torch.arange(scores.shape[-1], device=scores.device) == 0
            return self.loss.from_logits(scores, other, mask=padding, ignore_index=self.ignored)
        items = items[: len(self.item_counts)]
        if self.in_batch:
            return self.loss.in_batch(users, items[ids], item_ids=ids, item_counts=self.item_counts)
        every = torch.arange(1, len(items), device=ids.device)
        return self.loss.from_embeddings(users, items[ids], items[1:], target_ids=ids, candidate_ids=every)


def replace_criterion(model: Any, name: str, settings: Any, targets: Any) -> RetrievalCriterion:
    """Put a RetrievalCriterion in the place of the criterion that the model's recommendations are trained by.

    Args:
        model: the model.
        name: its name, for errors.
        settings: what the configuration says, None = nothing.
        targets: item of each event of the training data.

    Raises:
        ValueError: the settings are no dictionary, or there is nothing to replace.
    """
    if not isinstance(settings or {}, dict):
        raise ValueError(f"retrieval_loss must be a dictionary of CROLoss's arguments, got {settings!r}")
    kinds, names = (nn.CrossEntropyLoss, BPRLoss), ("loss_fct", "mf_loss", "rec_loss", "loss")
    own = [name for name in names if isinstance(getattr(model, name, None), kinds)]
    if not own and not hasattr(model, "MASK_INDEX"):
        raise ValueError(f"{name} has no CrossEntropyLoss or BPRLoss that another loss could replace")
    place = own[0] if own else names[0]
    ignored = getattr(getattr(model, place, None), "ignore_index", -100)
    counts = torch.bincount(torch.as_tensor(targets), minlength=model.n_items)
    criterion = RetrievalCriterion(name, settings or {}, counts, ignored)
    setattr(model, place, criterion)
    return criterion


def masked_positions(model: Any, criterion: RetrievalCriterion) -> tuple[Tensor, Tensor]:
    """Return logits (R, num_items + 1) and labels (R,) of the R positions that BERT4Rec masks in a batch."""
    batch = criterion.batch
    hidden, index = model.forward(batch[model.MASK_ITEM_SEQ]), batch[model.MASK_INDEX]
    rows, columns = (index > 0).nonzero(as_tuple=True)
    users, items = hidden[rows, index[rows, columns]], model.item_embedding.weight[: model.n_items]
    labels = batch[model.POS_ITEMS][rows, columns]
    criterion.expect(batch, labels, (users, items))
    return users @ items.T + model.output_bias, labels


def agree(users: Any, items: Any, ids: Tensor, scores: Tensor) -> bool:
    """Return whether scores, logits (B, C) or of positives (B,), are dot products of users and items."""
    shape = (len(ids), *getattr(items, "shape", ())[1:])
    if len(shape) != 2 or getattr(users, "shape", ()) != shape or len(scores) != len(ids):
        return False
    given = scores.gather(1, ids[:, None])[:, 0] if scores.dim() == 2 else scores
    return torch.allclose((users * items[ids]).sum(-1).to(given), given, rtol=1e-2, atol=1e-3)


class UnitLength(nn.Module):
    """The parametrization of a table whose rows have unit length."""

    def forward(self, table: Tensor) -> Tensor:
        """Return the rows (n, D) with length 1, zeros as zeros."""
        return unit_length(table)
