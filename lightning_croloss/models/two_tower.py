"""TwoTower: users and items each through a tower of their own, from ids and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import (
    check_choice,
    check_counts,
    check_not_negative,
    check_probability,
    check_widths,
)
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers import POOLINGS, feature_embedding, id_embedding, mlp
from lightning_croloss.models.layers.interactions import (
    add_interactions,
    check_interactions,
    interaction_layers,
)


class TwoTower(HistoryModel):
    """A user tower over history, features and id; an item tower over id and features.

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.
    Beside the dense layers of a tower its inputs, or fields, can be multiplied with one another, as DeepFM
    and DCN V2 do; what comes of it is added to what the dense layers make. A score is a product of two
    vectors all the same. The fields of the user tower are the pooled history, the id and the features, whose
    sum is one field unless ``separate_user_features``; those of the item tower the id and each feature.

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
        cross_layers: number of cross layers of a tower, without effect if there are none.
        separate_user_features: whether each feature of the users is a field of its own of
            ``user_interactions``, without effect if there are none.
        item_interactions: the same as ``user_interactions`` over the fields of the item tower, for items with
            features.
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
        separate_user_features: bool = False,
        item_interactions: Sequence[str] = (),
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
        separate = separate_user_features and len(user_interactions) > 0
        self.user_feature_embedding = feature_embedding(user_features, num_users, dim, "users", separate)
        self.use_history = self.needs_history = use_history
        parts = sum([use_history, use_user_id, bool(user_features)])
        self.user_tower = mlp(parts * dim, user_hidden_dims, dim, dropout)
        self.item_tower = mlp(dim, item_hidden_dims, dim, dropout)
        check_counts(cross_layers=cross_layers)
        fields = parts + (len(user_features) - 1 if separate and user_features else 0)
        remedy = "set use_user_id, give the data user_features, or take cross"
        check_interactions("user_interactions", user_interactions, fields, "the user tower", remedy)
        self.user_interactions = nn.ModuleDict(
            interaction_layers(user_interactions, dim, fields, cross_layers)
        )
        self.item_interactions = nn.ModuleDict(self._of_items(item_interactions, cross_layers))

    def _of_items(self, kinds: Sequence[str], cross_layers: int) -> dict[str, nn.Module]:
        """Return the interaction layers of the item tower.

        Raises:
            ValueError: there is nothing to multiply.
        """
        fields = 0 if self.item_feature_embedding is None else len(self.item_feature_embedding.names)
        remedy = "set use_item_id, give the data more item_features, or take cross"
        if fields:
            fields += self.item_embedding is not None
        check_interactions("item_interactions", kinds, fields, "the item tower", remedy)
        return interaction_layers(kinds, self.embedding_dim, fields, cross_layers)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D)."""
        parts = []
        if self.use_history:
            parts.append(self.pooled_history(batch, self.pooling))
        if self.user_embedding is not None:
            parts.append(self.user_embedding(batch.users))
        fields = [*parts]
        if self.user_feature_embedding is not None:
            features = self.embed_user_features(batch).split(
                self.embedding_dim, dim=-1
            )  # one if they are added
            parts.append(features[0] if len(features) == 1 else torch.stack(features).sum(0))
            fields += features
        vectors = self.user_tower(torch.cat(parts, dim=-1))
        return self.normalize(add_interactions(vectors, self.user_interactions, fields)).unsqueeze(1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, (..., D), or (num_items, D); over shards those of this process."""
        if not len(self.item_interactions):
            return self.normalize(self.item_tower(self.embed_items(ids)))
        fields = self.item_fields(ids)
        vectors = self.item_tower(torch.stack(fields).sum(0))
        return self.normalize(add_interactions(vectors, self.item_interactions, fields))
