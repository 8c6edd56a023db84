"""From ids and scores to what is recommended to each user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from croloss_serving.recommend.item_table import ItemTable
from croloss_serving.recommend.popular import PopularItems, Ranked
from croloss_serving.recommend.results import UserRecommendations
from croloss_serving.recommend.users import UserKnowledge


def user_recommendations(
    items: ItemTable, ranked: Ranked, unknown: int = 0, fallback: bool = False, unknown_user: bool = False
) -> UserRecommendations:
    """Return the items recommended to one user, as tokens with titles.

    Args:
        items: the items.
        ranked: the ids and scores of those recommended; ids of 0 at the end stand for nothing.
        unknown: number of tokens of the history that are not known.
        fallback: whether these are the popular items.
        unknown_user: whether the model uses users and does not know this one.
    """
    ids, scores = (values[: int((ranked[0] > 0).sum())] for values in ranked)
    titles = None if items.titles is None else [items.titles[i - 1] for i in ids.tolist()]
    return UserRecommendations(
        items.vocabulary.decode(ids), titles, scores.tolist(), unknown, fallback, unknown_user
    )


class UserLists:
    """Makes the lists of users out of what a model found: the popular items where it has nothing to go by.

    Args:
        items: the items.
        knowledge: what the model knows of users.
        n: how many items.
        exclude_history: whether popular items of the history are left out, as the model's are.
        allowed: ids of the only items to choose from, in ascending order; None = all.
    """

    def __init__(
        self,
        items: ItemTable,
        knowledge: UserKnowledge,
        n: int,
        exclude_history: bool,
        allowed: NDArray[np.int64] | None,
    ) -> None:
        self._items = items
        self._knowledge = knowledge
        self._n = n
        self._exclude_history = exclude_history
        self._popular = PopularItems(items, allowed)

    def __call__(
        self,
        histories: Sequence[Sequence[int]],
        unknown: Sequence[int],
        users: Sequence[int],
        found: Iterable[Ranked],
        has_features: Sequence[bool] | None = None,
    ) -> list[UserRecommendations]:
        """Return what is recommended to each user.

        Args:
            histories: for each user the known ids of its history.
            unknown: for each user the number of tokens that are not known.
            users: for each user its id, 0 = unknown.
            found: for each user the best items by the model.
            has_features: for each user whether features are given that the model uses; None = of no one.
        """
        lists = []
        given = has_features or [False] * len(users)
        for history, number, user, best, known in zip(histories, unknown, users, found, given, strict=True):
            answered = self._knowledge.answers(user, history, known)
            excluded = history if self._exclude_history else ()
            lists.append(
                user_recommendations(
                    self._items,
                    best if answered else self._popular.best(self._n, excluded),
                    number,
                    fallback=not answered,
                    unknown_user=self._knowledge.uses_users and user == 0,
                )
            )
        return lists
