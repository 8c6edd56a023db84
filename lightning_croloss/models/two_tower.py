"""TwoTower: users and items each through a tower of their own, from ids and features."""

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


class TwoTower(RetrievalModel):
    """A user tower over history, features and id; an item tower over id and features.

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.
    An item that training never saw is represented by its features alone, in the catalogue as in histories;
    ``id_dropout`` makes the towers practise that (Volkovs et al., "DropoutNet", NeurIPS 2017).

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data.
        item_features: specifications of the items' features, from the data.
        user_features: specifications of the users' features, from the data.
        use_history: whether the user tower sees the history.
        use_user_id: whether it has an embedding for each user; not for users unseen in training.
        use_item_id: whether the item tower has an embedding for each item.
        user_hidden_dims: widths of the user tower's hidden layers.
        item_hidden_dims: widths of the item tower's hidden layers.
        pooling: "mean", "sum" or "max" over the history.
        dropout: chance of a hidden unit to be dropped in training.
        history_dropout: chance of an event of the history to be dropped in training.
        id_dropout: chance of an item's id to be dropped in training, so that its features must do.
        **kwargs: arguments of ``RetrievalModel``.
    """

    seen_items: Tensor

    def __init__(
        self,
        num_items: int,
        num_users: int = 0,
        item_features: Sequence[Mapping[str, Any]] = (),
        user_features: Sequence[Mapping[str, Any]] = (),
        use_history: bool = True,
        use_user_id: bool = False,
        use_item_id: bool = True,
        user_hidden_dims: Sequence[int] = (128,),
        item_hidden_dims: Sequence[int] = (),
        pooling: str = "mean",
        dropout: float = 0.0,
        history_dropout: float = 0.0,
        id_dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}{suggest(str(pooling), POOLINGS)}")
        check_probability(dropout=dropout, history_dropout=history_dropout, id_dropout=id_dropout)
        check_widths(user_hidden_dims=user_hidden_dims, item_hidden_dims=item_hidden_dims)
        if not (use_item_id or item_features):
            raise ValueError("the item tower has no input: set use_item_id, or give the data item_features")
        if not (use_history or use_user_id or user_features):
            raise ValueError(
                "the user tower has no input: set use_history or use_user_id, or give the data user_features"
            )
        if (use_user_id or user_features) and num_users < 1:
            raise ValueError(f"num_users must be at least 1 for user ids and features, got {num_users}")
        self.num_users = num_users
        self.use_user_id = use_user_id
        self.pooling = pooling
        self.history_dropout = history_dropout
        self.id_dropout = id_dropout if item_features else 0.0
        dim = self.embedding_dim
        self.item_embedding = nn.Embedding(num_items + 1, dim, padding_idx=0) if use_item_id else None
        self.item_feature_embedding = feature_embedding(item_features, num_items, dim, "items")
        self.user_embedding = nn.Embedding(num_users + 1, dim, padding_idx=0) if use_user_id else None
        self.user_feature_embedding = feature_embedding(user_features, num_users, dim, "users")
        for embedding in (self.item_embedding, self.user_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight[1:], std=dim**-0.5)
        # until training begins, and in a model that never trained, every item counts as seen
        self.register_buffer("seen_items", torch.ones(num_items + 1, dtype=torch.bool))
        self.use_history = use_history
        parts = sum([use_history, use_user_id, bool(user_features)])
        self.user_tower = mlp(parts * dim, user_hidden_dims, dim, dropout)
        self.item_tower = mlp(dim, item_hidden_dims, dim, dropout)

    def setup(self, stage: str) -> None:
        """Take the features, and which items training has seen, from the data.

        Raises:
            ValueError: the split evaluates users whose ids training never sees.
        """
        super().setup(stage)
        data = self.data
        if data is None:
            return
        if self.use_user_id and data.rows.unseen_users:
            raise ValueError(
                f"use_user_id needs users that training has seen, but {type(data.split).__name__} evaluates "
                "others: set use_user_id to false, or split by LeaveOneOut"
            )
        if stage == "fit" and self.item_feature_embedding is not None:
            self.seen_items.copy_(data.item_counts > 0)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D)."""
        parts = []
        if self.use_history:
            history = drop_history(batch.history, self.history_dropout, self.training)
            parts.append(pool_history(self._item_inputs(history), history != 0, self.pooling))
        if self.user_embedding is not None:
            parts.append(self.user_embedding(batch.users))
        if self.user_feature_embedding is not None:
            parts.append(self.user_feature_embedding(batch.users))
        return self.normalize(self.user_tower(torch.cat(parts, dim=-1))).unsqueeze(1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, (..., D)."""
        if ids is None:
            ids = torch.arange(1, self.num_items + 1, device=self.device)
        vectors: Tensor = self.item_tower(self._item_inputs(ids))
        return self.normalize(vectors)

    def _item_inputs(self, ids: Tensor) -> Tensor:
        """Return what goes into the item tower and into the pooled history, (..., D)."""
        features: Tensor | None = None
        if self.item_feature_embedding is not None:
            features = self.item_feature_embedding(ids)
        if self.item_embedding is None:
            return torch.as_tensor(features)
        embeddings: Tensor = self.item_embedding(ids)
        if features is None:
            return embeddings
        kept = self.seen_items[ids]
        if self.training and self.id_dropout > 0.0:
            kept = kept & (torch.rand(ids.shape, device=ids.device) >= self.id_dropout)
        return features + embeddings * kept.unsqueeze(-1)
