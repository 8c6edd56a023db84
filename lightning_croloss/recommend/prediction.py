"""Prediction: what ``Trainer.predict`` finds for batch after batch of users."""

from __future__ import annotations

import torch
from torch import Tensor

from croloss_serving.recommend.popular import PopularItems
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.recommend.protocol import Retriever, items_of, user_knowledge
from lightning_croloss.recommend.top_items import TopItems


class Prediction:
    """The best items of each user, or popular ones where the model has nothing to go by.

    The catalogue is encoded once.

    Args:
        model: the model.
        n: how many items.
        exclude_history: leave out the items that the user had before.

    Attributes:
        num_popular: number of users so far who got the most popular items.
    """

    def __init__(self, model: Retriever, n: int, exclude_history: bool) -> None:
        self.num_popular = 0
        self._top_items = TopItems(model, n, exclude_history)
        self._knowledge = user_knowledge(model)
        known = model.metadata.item_vocabulary is not None
        self._popular = PopularItems(items_of(model)) if known else None
        self._n = n
        self._exclude_history = exclude_history

    def __call__(self, batch: RetrievalBatch) -> tuple[Tensor, Tensor]:
        """Return ids (B, n) and scores (B, n); a popular item's score is the number of its training events.

        Where fewer than n items are left, the rest is 0 and −∞.
        """
        ids, scores = self._top_items(batch)
        answered = torch.zeros_like(batch.users, dtype=torch.bool)
        if self._knowledge.uses_users:
            answered |= batch.users > 0
            if batch.user_features is not None:
                answered |= batch.user_features.given
        if self._knowledge.uses_history:
            answered |= batch.has_items_before
        if self._popular is None:
            return ids, scores
        for row in (~answered).nonzero().flatten().tolist():
            before = batch[row : row + 1].padded_items_before[0]
            history = before[before != 0].tolist() if self._exclude_history else ()
            best, counts = self._popular.best(self._n, history)
            ids[row], scores[row] = 0, -torch.inf
            ids[row, : len(best)] = torch.from_numpy(best).to(ids.device)
            scores[row, : len(best)] = torch.from_numpy(counts).to(scores)
            self.num_popular += 1
        return ids, scores
