"""The users that are recommended to, by their tokens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.recommend.tokens import Token, check_tokens, encode_tokens


class UserKnowledge(NamedTuple):
    """What a model knows of single users.

    Attributes:
        who: what errors call the model.
        uses_users: whether it uses their ids or features.
        needs_users: whether it recommends to users of known ids only.
        uses_history: whether it uses their histories.
        vocabulary: their tokens; None if it does not use them, or its file does not hold them.
    """

    who: str
    uses_users: bool
    needs_users: bool
    uses_history: bool
    vocabulary: Vocabulary | None

    def ids(self, users: Sequence[Token] | None, count: int) -> NDArray[np.int64]:
        """Return the id of each user, 0 = unknown.

        Warns if the model uses users and none are given.

        Args:
            users: the tokens of ``count`` users; None = all unknown.
            count: number of histories.

        Raises:
            ValueError: users are missing though the model needs them, are given though it does not use them
                or does not know their tokens, or are not as many as the histories.
            TypeError: users are not a list, or a token neither text nor integer.
        """
        if users is None:
            if self.needs_users:
                raise ValueError(
                    f"{self.who} recommends to users whose ids it was trained with: give the token of each "
                    "as users"
                )
            if self.uses_users and self.vocabulary is None and count:
                warnings.warn(
                    f"{self.who} was trained with the ids or features of users, but no users are given, as "
                    "its file does not hold their tokens: all count as unknown",
                    stacklevel=2,
                )
            elif self.uses_users and count:
                warnings.warn(
                    f"{self.who} was trained with the ids or features of users, but no users are given: all "
                    f"{count:,} count as unknown; give the token of each as users",
                    stacklevel=2,
                )
            return np.zeros(count, dtype=np.int64)
        if not self.uses_users:
            raise ValueError(f"{self.who} uses neither ids nor features of users: leave users out")
        if self.vocabulary is None:
            raise ValueError(
                f"{self.who} uses users, but its file does not hold their tokens (it was written without "
                "them, or by an earlier release): fit or test it on its data and save it again, or give ids "
                "to recommend()"
            )
        known = encode_tokens(check_tokens("users", users), self.vocabulary)
        if len(known) != count:
            raise ValueError(f"users must hold a token for each of the {count} histories, got {len(known)}")
        return known

    def answers(self, user: int, history: Sequence[int], has_features: bool = False) -> bool:
        """Tell whether the model has anything to go by for a user.

        Args:
            user: the user's id, 0 = unknown.
            history: the known ids of the history.
            has_features: whether features are given that the model uses.
        """
        return has_features or (user > 0 and self.uses_users) or (self.uses_history and len(history) > 0)
