"""Recommendations in the user's own tokens: histories of tokens in, tokens, titles and scores out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.models.histories import batch_of_histories
from lightning_croloss.models.recommending import TopItems, evaluating
from lightning_croloss.retrieval import top_items

if TYPE_CHECKING:
    from lightning_croloss.models.retrieval_model import RetrievalModel

Token = str | int
#: Users whose histories are encoded together.
BATCH_SIZE = 1024
SHOWN = 10  # users and items that a printed result shows


@dataclass(frozen=True)
class UserRecommendations:
    """The items recommended to one user, best first.

    Attributes:
        tokens: their tokens.
        titles: what a person calls them, None if the model knows no titles.
        scores: their scores; for a popular fallback the number of training events.
        unknown: number of tokens of the history that the model does not know.
        fallback: whether these are the most popular items, because nothing of the history is known.
    """

    tokens: list[Token]
    titles: list[str] | None
    scores: list[float]
    unknown: int
    fallback: bool

    def __str__(self) -> str:
        """Return a line for each of the first items: score, token, title."""
        titles = self.titles or [""] * len(self.tokens)
        width = max((len(str(token)) for token in self.tokens[:SHOWN]), default=0)
        lines = [
            f"{score:8.4g}  {token!s:<{width}}  {title}".rstrip()
            for score, token, title in zip(self.scores[:SHOWN], self.tokens, titles, strict=False)
        ]
        more = len(self.tokens) - SHOWN
        return "\n".join([*lines, *([f"          … {more} more"] if more > 0 else [])])


@dataclass(frozen=True)
class Recommendations(Sequence[UserRecommendations]):
    """What is recommended to each user, in the order of the histories.

    Attributes:
        users: one entry for each history.
    """

    users: list[UserRecommendations]

    @property
    def num_unknown(self) -> int:
        """Number of tokens in all histories that the model does not know."""
        return sum(user.unknown for user in self.users)

    @property
    def num_fallback(self) -> int:
        """Number of users who were recommended the most popular items."""
        return sum(user.fallback for user in self.users)

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.users)

    def __getitem__(self, index: Any) -> Any:
        """Return the entry of a user, or those of several."""
        return self.users[index]

    def __iter__(self) -> Iterator[UserRecommendations]:
        """Go through the users."""
        return iter(self.users)

    def __str__(self) -> str:
        """Return the first users' items as text, and what was not known."""
        parts = []
        for number, user in enumerate(self.users[:SHOWN], start=1):
            notes = [f"{user.unknown} unknown tokens"] * bool(user.unknown) + ["popular"] * user.fallback
            note = f" ({', '.join(notes)})" if notes else ""
            parts.append(f"user {number}{note}\n{user}")
        if len(self.users) > SHOWN:
            parts.append(f"… {len(self.users) - SHOWN} more users")
        return "\n".join(parts)


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
    found = torch.from_numpy(_encode(check_tokens("tokens", tokens), vocabulary)).to(model.device)
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


def check_tokens(name: str, tokens: Any) -> Collection[Token]:
    """Return ``tokens``, if they are a list of texts or integers.

    Raises:
        TypeError: naming what was given instead.
    """
    if isinstance(tokens, (str, bytes)) or not isinstance(tokens, (Collection, np.ndarray)):
        raise TypeError(f"{name} must be a list of tokens, got {tokens!r}")
    kinds = {type(token) for token in tokens}
    if wrong := [kind for kind in kinds if not issubclass(kind, (str, int, np.integer)) or kind is bool]:
        token = next(token for token in tokens if type(token) in wrong)
        raise TypeError(f"{name} holds {token!r}: tokens must be text or integers")
    return tokens


def ids_of_histories(
    histories: Sequence[Sequence[Token]], vocabulary: Vocabulary
) -> tuple[list[list[int]], list[int]]:
    """Return the known ids of each history, and how many of its tokens are not known.

    Raises:
        TypeError: a history is no list, or a token neither text nor integer.
    """
    if isinstance(histories, (str, bytes)) or not isinstance(histories, (Sequence, np.ndarray)):
        raise TypeError(f"histories must be a list of lists of tokens, got {type(histories).__name__}")
    for number, history in enumerate(histories):
        check_tokens(f"histories[{number}]", history)
    ids = _encode([token for history in histories for token in history], vocabulary)
    ends = np.cumsum([0, *map(len, histories)])
    pieces = [ids[begin:end] for begin, end in pairwise(ends)]
    return [piece[piece > 0].tolist() for piece in pieces], [int((piece == 0).sum()) for piece in pieces]


def _encode(tokens: Collection[Token], vocabulary: Vocabulary) -> Any:
    """Return the id of each token, 0 if it is not known; texts and integers may be mixed."""
    if len({isinstance(token, str) for token in tokens}) > 1:
        tokens = [str(token) for token in tokens]
    return vocabulary.encode(list(tokens))


def _known_ids(name: str, tokens: Collection[Token], vocabulary: Vocabulary) -> Tensor:
    ids: Tensor = torch.from_numpy(_encode(check_tokens(name, tokens), vocabulary)).unique()
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
