"""Recommendations in the user's own tokens: histories of tokens in, tokens, titles and scores out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from lightning_croloss.recommend.histories import batch_of_histories
from lightning_croloss.recommend.lists import check_n, popular_items, user_recommendations, with_fallback
from lightning_croloss.recommend.protocol import Retriever, items_of
from lightning_croloss.recommend.results import Recommendations, UserRecommendations
from lightning_croloss.recommend.tokens import (
    Token,
    allowed_ids,
    check_tokens,
    encode_tokens,
    ids_of_histories,
)
from lightning_croloss.recommend.top_items import TopItems, evaluating
from lightning_croloss.retrieval import top_items

#: Users whose histories are encoded together.
BATCH_SIZE = 1024


class TokenRecommender:
    """Recommends to histories of tokens; the catalogue is encoded once.

    A history without any token that the model knows gets the most popular items of training.

    Args:
        model: the model, with its vocabulary.
        n: how many items.
        exclude_history: whether to leave out the items of the history; None is the model's own.
        allow: tokens of the only items to recommend; None = all. Tokens the model does not know are passed
            over.
        deny: tokens of items never to recommend.
        diversity: see :class:`TopItems`; None is 0.
        category: the item feature that holds the categories of the diversity.

    Raises:
        ValueError: the model has no vocabulary or recommends to known users only, n or the diversity is out
            of range.
        TypeError: tokens are neither text nor integers.
    """

    def __init__(
        self,
        model: Retriever,
        n: int = 10,
        exclude_history: bool | None = None,
        allow: Collection[Token] | None = None,
        deny: Collection[Token] | None = None,
        diversity: float | None = None,
        category: str | None = None,
    ) -> None:
        if exclude_history is None:
            exclude_history = model.exclude_history
        self._items = items_of(model)
        if model.needs_known_users:
            raise ValueError(
                f"a {type(model).__name__} recommends to users whose ids it was trained with, not to "
                "histories: use recommend(users=…)"
            )
        allowed = allowed_ids(self._items.vocabulary, allow, deny)
        self._top_items = TopItems(
            model,
            n,
            exclude_history,
            diversity or 0.0,
            category,
            allowed=None if allowed is None else torch.from_numpy(allowed),
        )
        self._popular = popular_items(self._items, n, allowed)
        self._model = model

    def __call__(self, histories: Sequence[Sequence[Token]]) -> Recommendations:
        """Recommend to each history.

        Args:
            histories: for each user the tokens of its events, oldest first.

        Raises:
            TypeError: a history is not a list, or a token neither text nor integer.
        """
        ids, unknown = ids_of_histories(histories, self._items.vocabulary)
        users: list[UserRecommendations] = []
        for first in range(0, len(ids), BATCH_SIZE):
            part = slice(first, first + BATCH_SIZE)
            users += self._recommend(ids[part], unknown[part])
        return Recommendations(users)

    def _recommend(self, histories: list[list[int]], unknown: list[int]) -> list[UserRecommendations]:
        model = self._model
        batch = batch_of_histories(
            histories,
            None,
            num_items=model.num_items,
            num_users=0,
            max_history=model.metadata.max_history,
            device=model.device,
        )
        ids, scores = self._top_items(batch)
        found = zip(ids.cpu().numpy(), scores.cpu().numpy(), strict=True)
        return with_fallback(self._items, histories, unknown, found, self._popular)


def similar_items(model: Retriever, tokens: Sequence[Token], n: int = 10) -> Recommendations:
    """Return for each item the n items whose vectors are most similar, itself left out.

    Args:
        model: the model, with its vocabulary.
        tokens: the items. One that the model does not know has no similar items, and counts as unknown.
        n: how many items.

    Raises:
        ValueError: the model has no vocabulary, or n is out of range.
        TypeError: tokens are not a list, or neither text nor integers.
    """
    items = items_of(model)
    check_n(n, len(items) - 1, "other items")
    known = encode_tokens(check_tokens("tokens", tokens), items.vocabulary)
    found = torch.from_numpy(known).to(model.device)
    with torch.no_grad(), evaluating(model):
        matrix = model.encode_catalogue()
        vectors = matrix[(found - 1).clamp(min=0)].unsqueeze(1)
    ids, scores = top_items(
        vectors, matrix, n, excluded=found.unsqueeze(1), tile_elements=model.tile_elements
    )
    ids[found == 0] = 0
    ranked = zip(ids.cpu().numpy(), scores.cpu().numpy(), strict=True)
    return Recommendations(
        [
            user_recommendations(items, best, unknown=int(item == 0))
            for item, best in zip(known, ranked, strict=True)
        ]
    )
