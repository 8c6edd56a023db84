"""Recommending: lists of items for users, by ids, by tokens and for ``Trainer.predict``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from croloss_serving.recommend.event_inputs import EventFeatures, Times
from croloss_serving.recommend.results import Recommendations
from croloss_serving.recommend.tokens import Token
from croloss_serving.recommend.user_features import UserFeatures
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.encoder import Encoder
from lightning_croloss.models.known_users import refuse_unknown_users
from lightning_croloss.models.layers.event_features import EventFeatureEmbedding
from lightning_croloss.models.layers.features import FeatureEmbedding
from lightning_croloss.models.metadata import ModelMetadata
from lightning_croloss.recommend.histories import (
    batch_of_histories,
    blocks_of_histories,
    check_one_user_each,
    events_of_histories,
    histories_of_ids,
)
from lightning_croloss.recommend.prediction import Prediction
from lightning_croloss.recommend.token_recommender import TokenRecommender, similar_items
from lightning_croloss.recommend.top_items import TopItems
from lightning_croloss.sharding.embedding import IdEmbedding


class Recommending(Encoder):
    """What a model is used for when it is trained.

    Attributes:
        predicts_n: number of items that ``Trainer.predict`` recommends to each user.
        predicts_unseen_only: whether it leaves out the items that the user had before; None is
            ``exclude_history``.
        prediction: what it makes its lists with, from its start on.
    """

    num_items: int
    num_users: int
    needs_history: bool
    needs_known_users: bool
    exclude_history: bool
    tile_elements: int
    metadata: ModelMetadata
    user_embedding: IdEmbedding | None
    item_feature_embedding: FeatureEmbedding | None
    user_feature_embedding: FeatureEmbedding | None
    event_feature_embedding: EventFeatureEmbedding | None

    predicts_n = 100
    predicts_unseen_only: bool | None = None
    prediction: Prediction | None = None

    @property
    def knows_users(self) -> bool:
        """Whether the model has embeddings or features of single users."""
        return self.user_embedding is not None or self.user_feature_embedding is not None

    @property
    def reads_user_features(self) -> bool:
        """Whether the model has embeddings of features of users."""
        return self.user_feature_embedding is not None

    def item_categories(self, name: str) -> Tensor:
        """Return the categories (num_items + 1, W) of the items, 0 = no more.

        Args:
            name: the item feature, categorical or multi-valued, that holds them.

        Raises:
            ValueError: the model has no item features or not this one, or it is a number.
        """
        if self.item_feature_embedding is None:
            raise ValueError(
                f"category={name!r}: this {type(self).__name__} has no item features; give the data "
                "item_features and train a model that takes them, or call retrieval.diverse_items"
            )
        return self.item_feature_embedding.categories(name)

    def recommend(
        self,
        histories: Sequence[Sequence[int]] | Tensor | None = None,
        n: int = 100,
        exclude_history: bool | None = None,
        users: Tensor | None = None,
        diversity: float = 0.0,
        category: str | None = None,
        candidates: int | None = None,
        times: Times | Tensor | None = None,
        event_features: EventFeatures | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the n best items for each user, by ids; :meth:`recommend_tokens` speaks in tokens.

        Args:
            histories: for each user the item ids of its events, oldest first; or a (B, L) tensor or array of
                them, left-padded with 0. None: users without events, or of whom the ids are enough.
            n: how many items.
            exclude_history: whether to leave out the items of the history; None is the model's own
                ``exclude_history``, as in evaluation.
            users: (B,) ids of the users, 0 = unknown, for models that use user ids or features; None = all
                unknown.
            diversity: what an item gains, in units of the score, for each item chosen before it that is of
                another category; 0 chooses by the score alone. See ``retrieval.diverse_items``.
            category: name of the item feature, categorical or multi-valued, that holds the categories.
            candidates: number of best items that the diverse ones are chosen from; None is five times n.
            times: for each history the times of its events, for a model that was trained with them; of a
                tensor of histories a tensor or lists as wide.
            event_features: for each feature of events the values in the same form; see
                :class:`TokenRecommender`.

        Returns:
            ids (B, n) and scores (B, n), best first, or with diversity in the order of choice; where fewer
            than n items are left, the rest is 0 and −∞.

        Raises:
            ValueError: an id outside 0 … num_items, n outside 1 … num_items, users that are not one known
                id for each history, diversity without a category that the model has, or times or features of
                events that do not fit the model or the histories.
            TypeError: an id or n is not an integer; :meth:`recommend_tokens` takes tokens.
        """
        if self.needs_known_users:
            refuse_unknown_users(users, type(self).__name__)
        longest = self.metadata.max_history
        histories, events = events_of_histories(
            self.metadata.events,
            histories_of_ids(histories),
            0 if users is None else len(users),
            times,
            event_features,
            f"this {type(self).__name__}",
        )
        parts = list(blocks_of_histories(histories, longest))
        if users is not None and len(parts) > 1:
            check_one_user_each(users, len(histories or ()))
        batches = [
            batch_of_histories(
                None if histories is None else histories[part],
                None if users is None else users[part],
                num_items=self.num_items,
                num_users=self.num_users,
                max_history=longest,
                device=self.device,
                events=None if events is None else events.rows(part),
            )
            for part in parts
        ]
        top_items = TopItems(self, n, exclude_history, diversity, category, candidates)
        missing = top_items.calls_missing(len(batches))
        ids, scores = zip(*map(top_items, batches), strict=True)
        top_items.take_part(missing)
        return torch.cat(ids), torch.cat(scores)

    def recommend_tokens(
        self,
        histories: Sequence[Sequence[Token]] | None = None,
        n: int = 10,
        exclude_history: bool | None = None,
        allow: Collection[Token] | None = None,
        deny: Collection[Token] | None = None,
        diversity: float | None = None,
        category: str | None = None,
        users: Sequence[Token] | None = None,
        user_features: UserFeatures | None = None,
        times: Times | None = None,
        event_features: EventFeatures | None = None,
    ) -> Recommendations:
        """Return the n best items for each history of tokens, as tokens with titles and scores.

        Tokens that the model does not know are counted and passed over; a user of whom it knows nothing gets
        the most popular items of training. To encode the catalogue once for many calls, keep a
        ``models.TokenRecommender``, which takes the same arguments.

        Histories are taken as they are: what the filters of the data left out of training's, such as low
        ratings or repeats, the caller leaves out, as ``metadata.reading["filters"]`` says.

        Args:
            histories: for each user the tokens of its events, text or integers, oldest first; None = no
                events of any of the users.
            n: how many items.
            exclude_history: whether to leave out the items of the history; None is the model's own
                ``exclude_history``, as in evaluation.
            allow: tokens of the only items to recommend; None = all.
            deny: tokens of items never to recommend.
            diversity: as in :meth:`recommend`; None is 0.
            category: as in :meth:`recommend`.
            users: the token of each user, for a model that uses ids or features of users; None = all unknown.
            user_features: for each feature of users a value of each user, for those whom the model does not
                know; see :class:`TokenRecommender`.
            times: for each history the times of its events, for a model that was trained with them; see
                :class:`TokenRecommender`.
            event_features: for each feature of events, for each history the values of its events; see
                :class:`TokenRecommender`.

        Raises:
            ValueError: the model has no vocabulary, users, their features, or times or features of events do
                not fit the model or the histories, or n or the diversity is out of range.
            TypeError: tokens are neither text nor integers.
        """
        recommender = TokenRecommender(self, n, exclude_history, allow, deny, diversity, category)
        return recommender(histories, users, user_features, times, event_features)

    def similar_items(self, tokens: Sequence[Token], n: int = 10) -> Recommendations:
        """Return for each item the n items whose vectors are most similar; see ``models.similar_items``."""
        return similar_items(self, tokens, n)

    @property
    def predicts_without_history(self) -> bool:
        """Whether ``Trainer.predict`` leaves out the items that the user had before."""
        return self.exclude_history if self.predicts_unseen_only is None else self.predicts_unseen_only

    def on_predict_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self.prediction = Prediction(self, self.predicts_n, self.predicts_without_history)

    def predict_step(self, batch: RetrievalBatch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return the ids (B, n) and scores (B, n) of the best items, n being ``predicts_n``."""
        assert self.prediction is not None
        return self.prediction(batch)
