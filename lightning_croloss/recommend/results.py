"""What is recommended, and the tokens that histories are made of. Imports no torch, for serving."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lightning_croloss.common.vocabulary import Vocabulary

Token = str | int
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
            f"{score:8.3f}  {token!s:<{width}}  {title}".rstrip()
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
    ids = encode_tokens([token for history in histories for token in history], vocabulary)
    ends = np.cumsum([0, *map(len, histories)])
    pieces = [ids[begin:end] for begin, end in pairwise(ends)]
    return [piece[piece > 0].tolist() for piece in pieces], [int((piece == 0).sum()) for piece in pieces]


def encode_tokens(tokens: Collection[Token], vocabulary: Vocabulary) -> Any:
    """Return the id of each token, 0 if it is not known; texts and integers may be mixed."""
    if len({isinstance(token, str) for token in tokens}) > 1:
        tokens = [str(token) for token in tokens]
    return vocabulary.encode(list(tokens))
