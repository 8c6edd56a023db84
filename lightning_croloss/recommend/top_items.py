"""TopItems: the best items for users, over a catalogue that is encoded once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from croloss_serving.common.list_length import check_n
from croloss_serving.common.switches import check_switches
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.recommend.catalogue import Catalogue
from lightning_croloss.recommend.histories import batch_of_histories
from lightning_croloss.recommend.protocol import Retriever
from lightning_croloss.recommend.user_vectors import user_vectors
from lightning_croloss.retrieval import check_diversity, diverse_items


class TopItems:
    """Finds the n best items for batch after batch of users.

    Where the model's items lie in shards, all processes make it, and call it equally often, together, each
    for its own users.

    Args:
        model: the model; its weights must not change between the batches.
        n: how many items.
        exclude_history: whether to leave out the items that the user had before; None is the model's own.
        diversity: what an item gains, in units of the score, for each item chosen before it that is of
            another category; 0 chooses by the score alone. See ``retrieval.diverse_items``.
        category: name of the item feature, categorical or multi-valued, that holds the categories.
        candidates: number of best items that the diverse ones are chosen from; None is five times n.
        allowed: ids of the only items that may be recommended, in any order; None = all.

    Raises:
        ValueError: n, the diversity or the candidates are out of range, an id is outside 1 … num_items, or
            the diversity has no category that the model knows.
    """

    def __init__(
        self,
        model: Retriever,
        n: int,
        exclude_history: bool | None = None,
        diversity: float = 0.0,
        category: str | None = None,
        candidates: int | None = None,
        allowed: Tensor | None = None,
    ) -> None:
        check_n(n, model.num_items)
        check_switches(exclude_history=exclude_history)
        self._categories = categories_of(model, diversity, category)
        if candidates is None:
            candidates = min(5 * n, model.num_items)
        elif not n <= candidates <= model.num_items:
            raise ValueError(f"candidates must be in n = {n} … {model.num_items}, got {candidates}")
        self.model = model
        self.n = n
        self.exclude_history = model.exclude_history if exclude_history is None else exclude_history
        self._diversity = diversity
        self._wanted = n if self._categories is None else candidates
        with evaluating(model):
            self._catalogue = Catalogue.of(model)
        self._allowed: Tensor | None = None
        if allowed is not None:
            self._allowed = checked_ids(allowed, model.num_items).to(model.device)
            self._catalogue = self._catalogue.only(self._allowed)

    @torch.no_grad()
    def __call__(self, batch: RetrievalBatch) -> tuple[Tensor, Tensor]:
        """Return ids (B, n) and scores (B, n), best first, or with diversity in the order of choice.

        Where fewer than n items are left, the rest is 0 and −∞.
        """
        with evaluating(self.model):
            vectors = user_vectors(self.model, batch).float()
        found = [
            self._best(vectors[rows], piece.padded_items_before if self.exclude_history else None)
            for rows, piece in self._catalogue.pieces(batch)
        ]
        ids, scores = zip(*found, strict=True)
        return torch.cat(ids), torch.cat(scores)

    def calls_missing(self, calls: int) -> int:
        """Return how many calls other processes make besides so many, which this one must take part in.

        All processes ask together, before they call: 0 unless the model's items lie in shards.
        """
        return self._catalogue.calls(calls) - calls

    def take_part(self, calls: int) -> None:
        """Call so often for nobody, while other processes call for their users."""
        for _ in range(calls):
            self(batch_of_nobody(self.model))

    def _best(self, vectors: Tensor, excluded: Tensor | None) -> tuple[Tensor, Tensor]:
        ids, scores = self._top(vectors, excluded)
        if self._categories is None:
            return ids, scores
        return diverse_items(ids, scores, self._categories, self.n, self._diversity)

    def _top(self, vectors: Tensor, excluded: Tensor | None) -> tuple[Tensor, Tensor]:
        tile_elements = self.model.tile_elements
        if self._allowed is None:
            return self._catalogue.top(vectors, self._wanted, excluded, tile_elements)
        ids = torch.zeros(len(vectors), self._wanted, dtype=torch.int64, device=vectors.device)
        scores = torch.full_like(ids, -torch.inf, dtype=vectors.dtype)
        count = min(self._wanted, len(self._allowed))
        if count:
            # positions among the allowed, from 1, follow ascending ids: ties fall as in the catalogue
            position_of = torch.zeros(self.model.num_items + 1, dtype=torch.int64, device=ids.device)
            position_of[self._allowed] = torch.arange(1, len(self._allowed) + 1, device=ids.device)
            barred = None if excluded is None else position_of[excluded]
            positions, scores[:, :count] = self._catalogue.top(vectors, count, barred, tile_elements)
            ids[:, :count] = torch.cat([self._allowed.new_zeros(1), self._allowed])[positions]
        return ids, scores


def batch_of_nobody(model: Retriever) -> RetrievalBatch:
    """Return a batch of one user without events, for a process that has no users to ask for."""
    events = model.metadata.events
    times: list[list[float]] | None = None if events.times is None else [[]]
    features: dict[str, list[list[float]]] | None = {name: [[]] for name in events.names} or None
    return batch_of_histories(
        [[]],
        None,
        num_items=model.num_items,
        num_users=model.num_users,
        max_history=model.metadata.max_history,
        device=model.device,
        events=events.encode([0], times, features, "the model"),
    )


@contextmanager
def evaluating(model: Retriever) -> Iterator[None]:
    """Switch a model to evaluation, and each part of it back to what it was."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, was_training in modes:
            part.training = was_training


def checked_ids(ids: Tensor, num_items: int) -> Tensor:
    """Return the distinct ids in ascending order.

    Raises:
        ValueError: an id is outside 1 … num_items.
    """
    distinct: Tensor = ids.reshape(-1).long().unique()
    if len(distinct) and not 1 <= int(distinct[0]) <= int(distinct[-1]) <= num_items:
        raise ValueError(
            f"allowed must hold item ids 1 … {num_items}, got {int(distinct[0])} … {int(distinct[-1])}"
        )
    return distinct


def categories_of(model: Retriever, diversity: float, category: str | None) -> Tensor | None:
    """Return the categories (num_items + 1, W) of the items; None if the score alone counts.

    Raises:
        ValueError: the diversity is negative or has no category, or the model lacks the category.
    """
    check_diversity(diversity)
    if category is None:
        if diversity > 0.0:
            raise ValueError(f"diversity={diversity} needs a category: name an item feature that holds it")
        return None
    categories = model.item_categories(category)
    return categories if diversity > 0.0 else None
