"""YouTubeDNN: the mean of the history through dense layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.errors import suggest
from lightning_croloss.models.layers import (
    POOLINGS,
    check_probability,
    check_widths,
    drop_history,
    feature_embedding,
    mlp,
    pool_history,
)
from lightning_croloss.models.retrieval_model import RetrievalModel


class YouTubeDNN(RetrievalModel):
    """Pool the embeddings of the history and pass them through dense layers.

    Covington et al., "Deep Neural Networks for YouTube Recommendations", RecSys 2016. History and targets
    share one embedding table. Item features add to the embeddings of the items, user features go into the
    dense layers beside the pooled history.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data; needed with user features only.
        item_features: specifications of the items' features, from the data.
        user_features: specifications of the users' features, from the data.
        hidden_dims: widths of the hidden layers; empty for a single linear map.
        pooling: "mean", "sum" or "max" over the history.
        dropout: chance of a hidden unit to be dropped in training.
        history_dropout: chance of an event of the history to be dropped in training.
        **kwargs: arguments of ``RetrievalModel``.
    """

    def __init__(
        self,
        num_items: int,
        num_users: int = 0,
        item_features: Sequence[Mapping[str, Any]] = (),
        user_features: Sequence[Mapping[str, Any]] = (),
        hidden_dims: Sequence[int] = (128,),
        pooling: str = "mean",
        dropout: float = 0.0,
        history_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}{suggest(str(pooling), POOLINGS)}")
        check_widths(hidden_dims=hidden_dims)
        check_probability(dropout=dropout, history_dropout=history_dropout)
        if user_features and num_users < 1:
            raise ValueError(f"num_users must be at least 1 for user features, got {num_users}")
        self.num_users = num_users
        self.pooling = pooling
        self.history_dropout = history_dropout
        self.item_embedding = nn.Embedding(num_items + 1, self.embedding_dim, padding_idx=0)
        nn.init.normal_(self.item_embedding.weight[1:], std=self.embedding_dim**-0.5)
        dim = self.embedding_dim
        self.item_feature_embedding = feature_embedding(item_features, num_items, dim, "items")
        self.user_feature_embedding = feature_embedding(user_features, num_users, dim, "users")
        self.user_layers = mlp(2 * dim if user_features else dim, hidden_dims, dim, dropout)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D)."""
        history = drop_history(batch.history, self.history_dropout, self.training)
        pooled = pool_history(self._embed(history), history != 0, self.pooling)
        if self.user_feature_embedding is not None:
            pooled = torch.cat([pooled, self.user_feature_embedding(batch.users)], dim=-1)
        return self.normalize(self.user_layers(pooled)).unsqueeze(1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return the embeddings of the items, (..., D)."""
        return self.normalize(self._embed(ids))

    def _embed(self, ids: Tensor | None) -> Tensor:
        if self.item_feature_embedding is None:
            return self.item_embedding.weight[1:] if ids is None else self.item_embedding(ids)
        if ids is None:
            ids = torch.arange(1, self.num_items + 1, device=self.device)
        embeddings: Tensor = self.item_embedding(ids) + self.item_feature_embedding(ids)
        return embeddings
