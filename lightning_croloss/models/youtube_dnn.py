"""YouTubeDNN: the mean of the history through dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.errors import suggest
from lightning_croloss.models.layers import POOLINGS, drop_history, mlp, pool_history
from lightning_croloss.models.retrieval_model import RetrievalModel


class YouTubeDNN(RetrievalModel):
    """Pool the embeddings of the history and pass them through dense layers.

    Covington et al., "Deep Neural Networks for YouTube Recommendations", RecSys 2016. History and targets
    share one embedding table.

    Args:
        num_items: size of the catalogue, from the data.
        hidden_dims: widths of the hidden layers; empty for a single linear map.
        pooling: "mean", "sum" or "max" over the history.
        dropout: chance of a hidden unit to be dropped in training.
        history_dropout: chance of an event of the history to be dropped in training.
        **kwargs: arguments of ``RetrievalModel``.
    """

    def __init__(
        self,
        num_items: int,
        hidden_dims: Sequence[int] = (128,),
        pooling: str = "mean",
        dropout: float = 0.0,
        history_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}{suggest(str(pooling), POOLINGS)}")
        if min(hidden_dims, default=1) < 1:
            raise ValueError(f"hidden_dims must be at least 1 each, got {list(hidden_dims)}")
        for name, value in (("dropout", dropout), ("history_dropout", history_dropout)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        self.pooling = pooling
        self.history_dropout = history_dropout
        self.item_embedding = nn.Embedding(num_items + 1, self.embedding_dim, padding_idx=0)
        nn.init.normal_(self.item_embedding.weight[1:], std=self.embedding_dim**-0.5)
        self.user_layers = mlp(self.embedding_dim, hidden_dims, self.embedding_dim, dropout)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D)."""
        history = drop_history(batch.history, self.history_dropout, self.training)
        pooled = pool_history(self.item_embedding(history), history != 0, self.pooling)
        return self.normalize(self.user_layers(pooled)).unsqueeze(1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return the embeddings of the items, (..., D)."""
        embeddings = self.item_embedding.weight[1:] if ids is None else self.item_embedding(ids)
        return self.normalize(embeddings)
