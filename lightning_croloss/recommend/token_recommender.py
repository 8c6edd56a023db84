"""Recommendations in the user's own tokens: histories of tokens in, tokens, titles and scores out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_croloss.common.vocabulary import Vocabulary
from lightning_croloss.recommend.histories import batch_of_histories
from lightning_croloss.recommend.results import (
    Recommendations,
    Token,
    UserRecommendations,
    check_tokens,
    encode_tokens,
    ids_of_histories,
)
from lightning_croloss.recommend.top_items import TopItems, evaluating
from lightning_croloss.retrieval import top_items

if TYPE_CHECKING:
    from lightning_croloss.models.retrieval_model import RetrievalModel

#: Users whose histories are encoded together.
BATCH_SIZE = 1024


class TokenRecommender:
    """Recommends to histories of tokens; the catalogue is encoded once.

    A history without any token that the model knows gets the most popular items of training.

    Args:
        model: the model, with its vocabulary.
        n: how many items.
        exclude_history: leave out the items of the history.
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
        model: RetrievalModel,
        n: int = 10,
        exclude_history: bool = True,
        allow: Collection[Token] | None = None,
        deny: Collection[Token] | None = None,
        diversity: float | None = None,
        category: str | None = None,
    ) -> None:
        self._vocabulary = vocabulary_of(model)
        if model.needs_known_users:
            raise ValueError(
                f"a {type(model).__name__} recommends to users whose ids it was trained with, not to "
                "histories: use recommend(users=…)"
            )
        allowed = self._allowed(allow, deny)
        self._top_items = TopItems(model, n, exclude_history, diversity or 0.0, category, allowed=allowed)
        self._popular_ids, self._popular_counts = _popular(model, n, allowed)
        self._model = model

    def __call__(self, histories: Sequence[Sequence[Token]]) -> Recommendations:
        """Recommend to each history.

        Args:
            histories: for each user the tokens of its events, oldest first.

        Raises:
            TypeError: a history is no list, or a token neither text nor integer.
        """
        ids, unknown = ids_of_histories(histories, self._vocabulary)
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
            max_history=model.facts.max_history,
            device=model.device,
        )
        ids, scores = self._top_items(batch)
        empty = torch.tensor([not history for history in histories], device=ids.device)
        if empty.any():
            ids[empty] = self._popular_ids.to(ids.device)
            scores[empty] = self._popular_counts.to(scores)
        return _users(ids, scores, self._vocabulary, model.facts.item_titles, unknown, empty.tolist())

    def _allowed(self, allow: Collection[Token] | None, deny: Collection[Token] | None) -> Tensor | None:
        """Return the ids that may be recommended; None = all."""
        if allow is None and not deny:
            return None
        every = torch.arange(1, len(self._vocabulary) + 1)
        allowed = every if allow is None else _known_ids("allow", allow, self._vocabulary)
        denied = _known_ids("deny", deny or [], self._vocabulary)
        return allowed[~torch.isin(allowed, denied)]


def similar_items(model: RetrievalModel, tokens: Sequence[Token], n: int = 10) -> Recommendations:
    """Return for each item the n items whose vectors are most similar, itself left out.

    Args:
        model: the model, with its vocabulary.
        tokens: the items. One that the model does not know has no similar items, and counts as unknown.
        n: how many items.

    Raises:
        ValueError: the model has no vocabulary, or n is out of range.
        TypeError: tokens are no list, or neither text nor integers.
    """
    vocabulary = vocabulary_of(model)
    if not 1 <= n < model.num_items:
        raise ValueError(f"n must be in 1 … {model.num_items - 1}, the number of other items, got {n}")
    found = torch.from_numpy(encode_tokens(check_tokens("tokens", tokens), vocabulary)).to(model.device)
    with torch.no_grad(), evaluating(model):
        matrix = model.encode_catalogue()
        vectors = matrix[(found - 1).clamp(min=0)].unsqueeze(1)
    ids, scores = top_items(
        vectors, matrix, n, excluded=found.unsqueeze(1), tile_elements=model.tile_elements
    )
    ids[found == 0], scores[found == 0] = 0, -torch.inf
    unknown = (found == 0).long().tolist()
    return Recommendations(
        _users(ids, scores, vocabulary, model.facts.item_titles, unknown, [False] * len(ids))
    )


def vocabulary_of(model: RetrievalModel) -> Vocabulary:
    """Return the vocabulary of a model.

    Raises:
        ValueError: it has none.
    """
    if model.facts.item_vocabulary is None:
        raise ValueError(
            "the model knows no tokens: fit it on its data, or load it from a checkpoint or the zoo; or use "
            "recommend() with item ids"
        )
    return model.facts.item_vocabulary


def _known_ids(name: str, tokens: Collection[Token], vocabulary: Vocabulary) -> Tensor:
    ids: Tensor = torch.from_numpy(encode_tokens(check_tokens(name, tokens), vocabulary)).unique()
    return ids[ids > 0]


def _popular(model: RetrievalModel, n: int, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the ids (n,) and counts (n,) of the most popular items, padded with 0 and −∞.

    A model that was never trained on data knows no counts, and so no popular items.
    """
    ids = torch.zeros(n, dtype=torch.int64)
    scores = torch.full((n,), -torch.inf)
    counts = model.facts.item_counts
    if counts is not None:
        possible = torch.arange(1, len(counts)) if allowed is None else allowed
        best = possible[counts[possible].argsort(descending=True, stable=True)[:n]]
        ids[: len(best)], scores[: len(best)] = best, counts[best].float()
    return ids, scores


def _users(
    ids: Tensor,
    scores: Tensor,
    vocabulary: Vocabulary,
    titles: list[str] | None,
    unknown: list[int],
    fallback: list[bool],
) -> list[UserRecommendations]:
    """Turn ids (B, n) and scores (B, n), padded with 0, into an entry for each user."""
    lengths = (ids > 0).sum(1).tolist()
    users = []
    for row, length in enumerate(lengths):
        kept = ids[row, :length].tolist()
        users.append(
            UserRecommendations(
                vocabulary.decode(kept),
                None if titles is None else [titles[i - 1] for i in kept],
                scores[row, :length].tolist(),
                unknown[row],
                fallback[row],
            )
        )
    return users
