"""YouTubeDNN: the mean of the history through dense layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.checks import check_choice, check_not_negative, check_probability, check_widths
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers import POOLINGS, feature_embedding, mlp


class YouTubeDNN(HistoryModel):
    """Pool the embeddings of the history and pass them through dense layers.

    Covington et al., "Deep Neural Networks for YouTube Recommendations", RecSys 2016. History and targets
    share one embedding table. User features go into the dense layers with the pooled history.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data; needed with user features only.
        user_features: specifications of the users' features, from the data.
        hidden_dims: widths of the hidden layers; empty for a single linear map.
        pooling: "mean", "sum" or "max" over the history.
        dropout: probability that a hidden unit is dropped in training.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.
    """

    def __init__(
        self,
        num_items: int,
        num_users: int = 0,
        user_features: Sequence[Mapping[str, Any]] = (),
        hidden_dims: Sequence[int] = (128,),
        pooling: str = "mean",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_choice("pooling", pooling, POOLINGS)
        check_widths(hidden_dims=hidden_dims)
        check_probability(dropout=dropout)
        check_not_negative(num_users=num_users)
        self.num_users = num_users
        self.pooling = pooling
        dim = self.embedding_dim
        self.user_feature_embedding = feature_embedding(user_features, num_users, dim, "users")
        self.user_layers = mlp(2 * dim if user_features else dim, hidden_dims, dim, dropout)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D)."""
        pooled = self.pooled_history(batch, self.pooling)
        if self.user_feature_embedding is not None:
            pooled = torch.cat([pooled, self.embed_user_features(batch)], dim=-1)
        return self.normalize(self.user_layers(pooled)).unsqueeze(1)
