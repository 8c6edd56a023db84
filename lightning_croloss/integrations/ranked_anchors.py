"""The way back of a symmetric loss of texts: each positive ranks the anchors."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from torch import Tensor

from lightning_croloss.integrations.text_ids import text_ids
from lightning_croloss.losses import RetrievalLoss


class Anchors(NamedTuple):
    """Anchors with what tells them apart.

    Attributes:
        vectors: (B, D).
        ids: (B,) of their own texts.
        positives: (B,) ids of their rows' positives.
    """

    vectors: Tensor
    ids: Tensor
    positives: Tensor

    @classmethod
    def of(cls, vectors: Tensor, features: Mapping[str, Any], positives: Tensor) -> Anchors:
        """Return anchors with these features; images and the like have the ids of their positives."""
        ids = text_ids(features) if "input_ids" in features else positives
        return cls(vectors, ids, positives)


def loss_of_anchors(loss: RetrievalLoss, positives: Tensor, own: Anchors, others: Anchors) -> Tensor:
    """Return the loss of positives (B, D) that rank anchors.

    A copy of a row's own anchor is no negative, nor is the anchor of another row with the same positive.

    Args:
        loss: the loss of the way forth, whose ``num_items`` says nothing of anchors.
        positives: (B, D) vectors.
        own: the anchors of their rows.
        others: those of all rows, which are ranked.
    """
    if len(others.ids) == 1:  # a last batch of one row
        return (positives * own.vectors).sum() * 0.0
    back = copy(loss)  # with the same parameters
    back.num_items = None
    hits = (own.ids[:, None] == others.ids) | (own.positives[:, None] == others.positives)
    value: Tensor = back(
        (positives * own.vectors).sum(-1),
        positives @ others.vectors.T,
        negative_mask=hits,
        num_sampled=len(others.ids) - 1,
    )
    return value
