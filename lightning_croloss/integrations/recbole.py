"""RecBole: a mixin that trains its models by CROLoss, and its ``run_recbole`` with the mixin."""

from inspect import signature
from typing import Any
from unittest.mock import patch

import torch
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.model.loss import BPRLoss
from recbole.utils import get_model
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrize import register_parametrization

from lightning_croloss.losses import CROLoss


class RetrievalLossMixin(AbstractRecommender):
    """Stands before a RecBole model, ``class CROGRU4Rec(RetrievalLossMixin, GRU4Rec)``, to change its loss.

    In place of its CrossEntropyLoss or BPRLoss (other terms stay) comes what ``retrieval_loss`` in RecBole's
    configuration says: a dictionary of CROLoss's arguments, ``negatives`` and ``cosine``. Negatives are "all"
    items, or with "batch" the other rows', with logQ. ``cosine: True`` gives item embeddings and user vectors
    unit length, in training and recommending. Models that compute pairs of scores (``loss_type: BPR``) never
    hold those of the whole catalogue. What does not fit raises ValueError, at the first step at the latest.
    """

    cosine, _tables, _batch, _vectors, _checked = False, False, None, (), False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        settings = {"num_items": self.n_items - 1, "negatives": "all", **(config["retrieval_loss"] or {})}
        self.negatives, self.cosine = settings.pop("negatives"), settings.pop("cosine", False)
        if self.negatives not in ("all", "batch"):
            raise ValueError(f"negatives={self.negatives!r} of retrieval_loss must be 'all' or 'batch'")
        self.retrieval_loss = CROLoss(**settings)
        kinds, names = (nn.CrossEntropyLoss, BPRLoss), ("loss_fct", "mf_loss", "rec_loss", "loss")
        own = [name for name in names if isinstance(getattr(self, name, None), kinds)]
        if not own:
            raise ValueError(f"{type(self).__name__} has no CrossEntropyLoss or BPRLoss to replace")
        self._ignored = getattr(getattr(self, own[0]), "ignore_index", -100)
        delattr(self, own[0])
        setattr(self, own[0], self._criterion)
        targets = torch.as_tensor(dataset.inter_feat[self.ITEM_ID])
        self.register_buffer("item_counts", torch.bincount(targets, minlength=self.n_items), persistent=False)
        self._tables = not signature(super().forward).parameters  # of all users and all items
        if self.cosine:
            register_parametrization(self.item_embedding, "weight", _UnitLength())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns, of unit length if ``cosine``."""
        output = super().forward(*args, **kwargs)
        parts = output if isinstance(output, tuple) else (output,)
        if self.cosine:
            ends = 1 + self._tables
            parts = (*(normalize(part, dim=-1) for part in parts[:ends]), *parts[ends:])
        self._vectors = () if self._batch is None else parts
        return parts if isinstance(output, tuple) else parts[0]

    def calculate_loss(self, interaction: Any) -> Any:
        """Return the model's own sum of its terms, with the loss in it replaced."""
        self._batch = interaction
        total = super().calculate_loss(interaction)
        if self._batch is not None:
            raise ValueError(f"{type(self).__name__}.calculate_loss never calls the criterion to replace")
        return total

    def _criterion(self, scores: Tensor, other: Tensor) -> Tensor:
        """Stand for CrossEntropyLoss, called with logits and labels, or BPRLoss, with pairs of scores."""
        (batch, vectors), self._batch, self._vectors = (self._batch, self._vectors), None, ()
        if scores.dim() > 1 and self.negatives == "all":
            padding = torch.arange(scores.shape[-1], device=scores.device) == 0
            return self.retrieval_loss.from_logits(
                scores, other, mask=padding.expand_as(scores), ignore_index=self._ignored
            )
        ids = batch[self.ITEM_ID]
        users = vectors[0][batch[self.USER_ID]] if self._tables else vectors[0]
        items = (vectors[1] if self._tables else self.item_embedding.weight)[: self.n_items]
        if not self._checked:
            own = scores.gather(1, ids[:, None])[:, 0] if scores.dim() > 1 else scores
            self._checked = torch.allclose((users * items[ids]).sum(-1), own, rtol=1e-2, atol=1e-3)
        if not self._checked:
            raise ValueError(f"{type(self).__name__} scores by more than dot products of ")
        if self.negatives == "batch":
            return self.retrieval_loss.in_batch(users, items[ids], item_ids=ids, item_counts=self.item_counts)
        every = torch.arange(1, self.n_items, device=ids.device)
        return self.retrieval_loss.from_embeddings(
            users, items[ids], items[1:], target_ids=ids, candidate_ids=every
        )


class _UnitLength(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return normalize(weight, dim=-1)


def run_recbole(model: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Call ``recbole.quick_start.run_recbole`` for the model of this name with :class:`RetrievalLossMixin`."""
    from recbole.quick_start import quick_start  # it imports ray

    mixed = type(model, (RetrievalLossMixin, get_model(model)), {})
    with patch.object(quick_start, "get_model", return_value=mixed):
        return quick_start.run_recbole(model, *args, **kwargs)
