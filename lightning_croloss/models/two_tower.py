"""TwoTower: users and items each through a tower of their own, from ids and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import (
    check_choice,
    check_counts,
    check_lists,
    check_not_negative,
    check_probability,
    check_widths,
)
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers import POOLINGS, feature_embedding, id_embedding, mlp, pool_history
from lightning_croloss.models.layers.interactions import KINDS, add_interactions, interaction_layers


class TwoTower(HistoryModel):
    """A user tower over history, features and id; an item tower over id and features.

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.
    Beside the dense layers of the user tower its inputs, or fields, which are the pooled history, the id and
    the sum of the features, can be multiplied with one another, as DeepFM and DCN V2 do; what comes of it is
    added to what the dense layers make. A score is a product of two vectors all the same.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data.
        user_features: specifications of the users' features, from the data.
        use_history: whether the user tower sees the history.
        use_user_id: whether it has an embedding for each user; not for users unseen in training.
        user_hidden_dims: widths of the user tower's hidden layers.
        item_hidden_dims: widths of the item tower's hidden layers.
        pooling: "mean", "sum" or "max" over the history.
        dropout: probability that a hidden unit is dropped in training.
        user_interactions: "fm" for a factorisation machine over the fields of the user tower, "cross" for
            cross layers, or both; see ``FactorizationMachine`` and ``CrossNetwork``.
        cross_layers: number of cross layers, without effect if there are none.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range, or a tower has nothing to work with.
    """

    def __init__(
        self,
        num_items: int,
        num_users: int = 0,
        user_features: Sequence[Mapping[str, Any]] = (),
        use_history: bool = True,
        use_user_id: bool = False,
        user_hidden_dims: Sequence[int] = (128,),
        item_hidden_dims: Sequence[int] = (),
        pooling: str = "mean",
        dropout: float = 0.0,
        user_interactions: Sequence[str] = (),
        cross_layers: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_choice("pooling", pooling, POOLINGS)
        check_probability(dropout=dropout)
        check_widths(user_hidden_dims=user_hidden_dims, item_hidden_dims=item_hidden_dims)
        if not (use_history or use_user_id or user_features):
            raise ValueError(
                "the user tower has no input: set use_history or use_user_id, or give the data user_features"
            )
        check_not_negative(num_users=num_users)
        if (use_user_id or user_features) and num_users < 1:
            raise ValueError(f"num_users must be at least 1 for user ids and features, got {num_users}")
        self.num_users = num_users
        self.use_user_id = use_user_id
        self.pooling = pooling
        dim = self.embedding_dim
        self.user_embedding = id_embedding(num_users, dim) if use_user_id else None
        self.user_feature_embedding = feature_embedding(user_features, num_users, dim, "users")
        self.use_history = self.needs_history = use_history
        parts = sum([use_history, use_user_id, bool(user_features)])
        self.user_tower = mlp(parts * dim, user_hidden_dims, dim, dropout)
        self.item_tower = mlp(dim, item_hidden_dims, dim, dropout)
        _check_interactions(user_interactions, parts, cross_layers)
        self.user_interactions = nn.ModuleDict(
            interaction_layers(user_interactions, dim, parts, cross_layers)
        )

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D)."""
        parts = []
        if self.use_history:
            parts.append(pool_history(*self.embed_history(batch), self.pooling))
        if self.user_embedding is not None:
            parts.append(self.user_embedding(batch.users))
        if self.user_feature_embedding is not None:
            parts.append(self.embed_user_features(batch))
        vectors = self.user_tower(torch.cat(parts, dim=-1))
        return self.normalize(add_interactions(vectors, self.user_interactions, parts)).unsqueeze(1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, (..., D), or (num_items, D)."""
        return self.normalize(self.item_tower(self.embed_items(ids)))


def _check_interactions(kinds: Sequence[str], num_fields: int, cross_layers: int) -> None:
    check_lists(user_interactions=kinds)
    for kind in kinds:
        check_choice("user_interactions", kind, KINDS)
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"user_interactions must name each kind once, got {list(kinds)}")
    if "fm" in kinds and num_fields < 2:
        raise ValueError(
            "user_interactions: fm multiplies the inputs of the user tower with one another, which has one "
            "alone: set use_user_id, give the data user_features, or take cross"
        )
    check_counts(cross_layers=cross_layers)
