"""Recommendations in the user's own tokens: histories of tokens in, tokens, titles and scores out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from croloss_serving.common.list_length import check_n
from croloss_serving.recommend.event_inputs import EncodedEvents, EventFeatures, Times
from croloss_serving.recommend.lists import UserLists, user_recommendations
from croloss_serving.recommend.results import Recommendations, UserRecommendations
from croloss_serving.recommend.tokens import (
    Token,
    all_ids_of_histories,
    allowed_ids,
    check_tokens,
    encode_tokens,
    histories_of,
    known_ids,
)
from croloss_serving.recommend.user_features import EncodedFeatures, UserFeatures, encode_user_features
from lightning_croloss.recommend.catalogue import Catalogue
from lightning_croloss.recommend.histories import batch_of_histories, blocks_of_histories
from lightning_croloss.recommend.protocol import Retriever, items_of, user_knowledge
from lightning_croloss.recommend.top_items import TopItems, evaluating

#: Users whose histories are encoded together.
BATCH_SIZE = 1024


class TokenRecommender:
    """Recommends to histories of tokens; the catalogue is encoded once.

    A user of whom the model knows nothing that it goes by, neither a token of the history nor, if it uses
    users, the user, gets the most popular items of training.

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
        ValueError: the model has no vocabulary, n or the diversity is out of range.
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
        self._items = items_of(model)
        if exclude_history is None:
            exclude_history = model.exclude_history
        self._knowledge = user_knowledge(model)
        allowed = allowed_ids(self._items.vocabulary, allow, deny)
        self._top_items = TopItems(
            model,
            n,
            exclude_history,
            diversity or 0.0,
            category,
            allowed=None if allowed is None else torch.from_numpy(allowed),
        )
        self._lists = UserLists(self._items, self._knowledge, n, exclude_history, allowed)
        self._model = model
        self._longest = model.metadata.max_history

    def __call__(
        self,
        histories: Sequence[Sequence[Token]] | None = None,
        users: Sequence[Token] | None = None,
        user_features: UserFeatures | None = None,
        times: Times | None = None,
        event_features: EventFeatures | None = None,
    ) -> Recommendations:
        """Recommend to each history.

        Args:
            histories: for each user the tokens of its events, oldest first; None = no events of any of the
                users.
            users: the token of each user, for a model that uses ids or features of users; None = all unknown.
            user_features: for each feature of users that the model was trained with a value of each user, for
                those whom it does not know: a text or a number, for "multi" a text or a list; None or "" is
                missing.
            times: for each history the list of the times of its events, for a model that was trained with
                them: numbers, or dates and ISO texts, as in training.
            event_features: for each feature of events that the model was trained with, for each history the
                list of the values of its events; None or "" is missing.

        Raises:
            ValueError: neither histories nor users are given, or users, their features, or times or features
                of events do not fit the model or the histories.
            TypeError: histories or users are not lists, or a token neither text nor integer.
        """
        histories = histories_of(histories, users)
        found_ids = all_ids_of_histories(histories, self._items.vocabulary)
        ids, unknown = known_ids(found_ids)
        events = self._model.metadata.events.encode(
            list(map(len, found_ids)), times, event_features, self._knowledge.who, [i > 0 for i in found_ids]
        )
        known = self._knowledge.ids(users, len(ids))
        encodings = self._model.metadata.user_encodings if self._model.reads_user_features else []
        features = encode_user_features(encodings, user_features, len(ids), self._knowledge.who)
        found: list[UserRecommendations] = []
        parts = list(blocks_of_histories(ids, self._longest, BATCH_SIZE))
        missing = self._top_items.calls_missing(len(parts))
        for part in parts:
            some = None if features is None else features.rows(part)
            of_part = None if events is None else events.rows(part)
            found += self._recommend(ids[part], unknown[part], known[part], some, of_part)
        self._top_items.take_part(missing)
        return Recommendations(found)

    def take_part(self) -> None:
        """Take part in a call that other processes make, without users of its own.

        For a model whose items lie in shards.
        """
        self._top_items.take_part(self._top_items.calls_missing(0))

    def _recommend(
        self,
        histories: list[list[int]],
        unknown: list[int],
        users: NDArray[np.int64],
        features: EncodedFeatures | None,
        events: EncodedEvents | None,
    ) -> list[UserRecommendations]:
        model = self._model
        batch = batch_of_histories(
            histories,
            torch.from_numpy(users),
            num_items=model.num_items,
            num_users=model.num_users,
            max_history=self._longest,
            device=model.device,
            user_features=features,
            events=events,
        )
        ids, scores = self._top_items(batch)
        found = zip(ids.cpu().numpy(), scores.cpu().numpy(), strict=True)
        given = None if features is None else features.given.tolist()
        return self._lists(histories, unknown, users.tolist(), found, given)


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
        catalogue = Catalogue.of(model)
        vectors = catalogue.vectors(found).unsqueeze(1)
    ids, scores = catalogue.top(vectors, n, found.unsqueeze(1), model.tile_elements)
    ids[found == 0] = 0
    ranked = zip(ids.cpu().numpy(), scores.cpu().numpy(), strict=True)
    return Recommendations(
        [
            user_recommendations(items, best, unknown=int(item == 0))
            for item, best in zip(known, ranked, strict=True)
        ]
    )
