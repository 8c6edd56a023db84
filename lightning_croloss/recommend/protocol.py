"""Retriever: what recommending needs of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.item_table import ItemTable
from croloss_serving.recommend.users import UserKnowledge
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.sharding.row_shards import RowShards


class CatalogueMetadata(Protocol):
    """What a model knows about its catalogue and training, besides weights."""

    @property
    def item_vocabulary(self) -> Vocabulary | None:
        """The tokens of the items; None until the model met its data."""

    @property
    def user_vocabulary(self) -> Vocabulary | None:
        """The tokens of the users; None if the model does not use them, or its file did not hold them."""

    @property
    def user_encodings(self) -> list[FeatureEncoding] | None:
        """How the features of users are read; None if the model has none, or its file did not hold them."""

    @property
    def events(self) -> EventInputs:
        """What the model reads of the history's events besides their items."""

    @property
    def item_titles(self) -> list[str] | None:
        """What a person calls each item of 1 … num_items; None without titles."""

    @property
    def item_counts(self) -> Tensor | None:
        """(num_items + 1,) int64 training events of each item; None until the model met its data."""

    @property
    def max_history(self) -> int | None:
        """Number of events that the model was trained on at most; None until then."""


class Retriever(Protocol):
    """A model that maps users and items to vectors whose products are the scores."""

    @property
    def num_items(self) -> int:
        """Size of the catalogue: ids are 1 … num_items, 0 is padding."""

    @property
    def num_users(self) -> int:
        """Number of users that the model knows by their ids or features; 0 if none."""

    @property
    def knows_users(self) -> bool:
        """Whether it has embeddings or features of single users."""

    @property
    def reads_user_features(self) -> bool:
        """Whether it has embeddings of features of users."""

    @property
    def needs_known_users(self) -> bool:
        """Whether it can recommend to users of known ids only."""

    @property
    def exclude_history(self) -> bool:
        """Whether items that a user had before are left out, unless the caller says otherwise."""

    @property
    def needs_history(self) -> bool:
        """Whether it goes by the users' histories."""

    @property
    def tile_elements(self) -> int:
        """Number of scores that are held at a time."""

    @property
    def metadata(self) -> CatalogueMetadata:
        """What the model knows of its catalogue."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""

    def modules(self) -> Iterator[nn.Module]:
        """Return the model and all its parts."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the users' vectors (B, K, D), K interests each."""

    def encode_catalogue(self) -> Tensor:
        """Return the vectors of all items, over shards of its own ones, (n, D) float32, without gradient."""

    @property
    def item_shards(self) -> RowShards | None:
        """Which process holds which rows of the items, row i being item i; None if all are here."""

    def item_categories(self, name: str) -> Tensor:
        """Return the categories (num_items + 1, W) of the items by one of their features, 0 = no more.

        Raises:
            ValueError: the model has no such feature.
        """


def user_knowledge(model: Retriever) -> UserKnowledge:
    """Return what a model knows of single users."""
    return UserKnowledge(
        f"this {type(model).__name__}",
        model.knows_users,
        model.needs_known_users,
        model.needs_history,
        model.metadata.user_vocabulary,
    )


def metadata_of(model: Retriever) -> Any:
    """Return what a model knows of its data.

    Raises:
        TypeError: it is no model of this package, such as one wrapped for several devices.
    """
    try:
        return model.metadata
    except AttributeError:
        inner = getattr(getattr(model, "module", None), "metadata", None)
        advice = ": give its .module" if inner is not None else ""
        raise TypeError(f"the model must be a RetrievalModel, got a {type(model).__name__}{advice}") from None


def items_of(model: Retriever) -> ItemTable:
    """Return the items of a model.

    Raises:
        ValueError: the model has no vocabulary.
        TypeError: it is no model of this package.
    """
    metadata = metadata_of(model)
    if metadata.item_vocabulary is None:
        raise ValueError(
            "the model knows no tokens: fit it on its data, or load it from a checkpoint or the zoo; or use "
            "recommend() with item ids"
        )
    counts = None if metadata.item_counts is None else metadata.item_counts[1:].cpu().numpy()
    return ItemTable(metadata.item_vocabulary, counts, metadata.item_titles)
