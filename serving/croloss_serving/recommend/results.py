"""What is recommended to each user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from croloss_serving.common.terminal import printable
from croloss_serving.recommend.tokens import Token

SHOWN = 10  # users and items that a printed result shows


@dataclass(frozen=True)
class UserRecommendations:
    """The items recommended to one user, best first.

    Attributes:
        tokens: their tokens.
        titles: what a person calls them, None if the model knows no titles.
        scores: their scores; for a popular fallback the number of training events.
        unknown: number of tokens of the history that the model does not know.
        fallback: whether these are the most popular items, because nothing is known that the model goes by.
        unknown_user: whether the model uses ids or features of users and does not know this user.
    """

    tokens: list[Token]
    titles: list[str] | None
    scores: list[float]
    unknown: int
    fallback: bool
    unknown_user: bool = False

    def __str__(self) -> str:
        """Return a line for each of the first items: score, token, title."""
        tokens = [printable(str(token)) for token in self.tokens[:SHOWN]]
        titles = [printable(title) for title in (self.titles or [""] * len(tokens))[:SHOWN]]
        width = max(map(len, tokens), default=0)
        lines = [
            f"{score:8.3f}  {token:<{width}}  {title}".rstrip()
            for score, token, title in zip(self.scores[:SHOWN], tokens, titles, strict=True)
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

    @property
    def num_unknown_users(self) -> int:
        """Number of users whom the model does not know, though it uses ids or features of users."""
        return sum(user.unknown_user for user in self.users)

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
            notes = ["unknown user"] * user.unknown_user
            notes += [f"{user.unknown} unknown tokens"] * bool(user.unknown) + ["popular"] * user.fallback
            note = f" ({', '.join(notes)})" if notes else ""
            parts.append(f"user {number}{note}\n{user}")
        if len(self.users) > SHOWN:
            parts.append(f"… {len(self.users) - SHOWN} more users")
        if self.num_unknown_users:
            parts.append(f"the model does not know {self.num_unknown_users} of the {len(self.users)} users")
        return "\n".join(parts)
