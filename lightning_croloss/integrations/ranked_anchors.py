"""Anchors of texts: what they know as positives, and the way back, on which each positive ranks them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from torch import Tensor

from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.common.known_partners import known_partners
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

    def known_to(self, own: Anchors) -> ItemLists:
        """Return for each of the anchors ``own`` the ids of its text's positives, in any of these rows."""
        return known_partners(own.ids, self.ids, self.positives)


def loss_of_anchors(loss: RetrievalLoss, positives: Tensor, own: Anchors, others: Anchors) -> Tensor:
    """Return the loss of positives (B, D) that rank anchors, none of which is one of theirs in any row.

    Args:
        loss: the loss of the way forth, whose ``num_items`` says nothing of anchors.
        positives: (B, D) vectors.
        own: the anchors of their rows.
        others: those of all rows, which are ranked.
    """
    back = copy(loss)  # with the same parameters
    back.num_items = None
    return back.from_embeddings(
        positives,
        own.vectors,
        others.vectors,
        target_ids=own.ids,
        candidate_ids=others.ids,
        excluded_ids=known_partners(own.positives, others.positives, others.ids),
        num_sampled=len(others.ids) - 1,
        padding_id=None,
    )
