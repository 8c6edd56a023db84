"""Caser: convolutions over the last events."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.common.checks import check_counts, check_not_negative, check_probability
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers import id_embedding
from lightning_croloss.models.layers.convolutions import EventConvolutions


class Caser(HistoryModel):
    """Read the last few events with horizontal and vertical convolutions.

    Tang & Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding", WSDM
    2018. ``EventConvolutions`` has the filters; a dense layer with ReLU follows, then a linear map from it,
    and from the user's own embedding if wanted, to the space of the items. The paper has a second table of
    items there, while here histories and catalogue share one. A history of fewer events has zeros before
    them, whatever the width of a batch. The paper trains on several of the next events: the data's
    ``target_window`` and ``targets_per_history`` do that.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data; needed with ``use_user_id`` only.
        num_events: number of events that are read, the last ones of the history.
        num_horizontal: number of horizontal filters of each height, from 1 to ``num_events``.
        num_vertical: number of vertical filters.
        use_user_id: whether there is an embedding for each user; not for users unseen in training.
        dropout: probability that an output of a filter is dropped in training.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range.
    """

    starts_small = True

    def __init__(
        self,
        num_items: int,
        num_users: int = 0,
        num_events: int = 5,
        num_horizontal: int = 16,
        num_vertical: int = 4,
        use_user_id: bool = False,
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_counts(num_events=num_events, num_horizontal=num_horizontal, num_vertical=num_vertical)
        check_probability(dropout=dropout)
        check_not_negative(num_users=num_users)
        if use_user_id and num_users < 1:
            raise ValueError(f"num_users must be at least 1 for user ids, got {num_users}")
        self.num_users = num_users if use_user_id else 0
        self.use_user_id = use_user_id
        self.num_events = num_events
        dim = self.embedding_dim
        self.user_embedding = id_embedding(num_users, dim) if use_user_id else None
        self.start_small(self.user_embedding)
        self.convolutions = EventConvolutions(dim, num_events, num_horizontal, num_vertical)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(self.convolutions.output_dim, dim)
        self.output_map = nn.Linear(2 * dim if use_user_id else dim, dim)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D)."""
        events, _ = self.embed_history(batch.last_events(self.num_events))
        # zeros before the events, then exactly so many: the width of the batch makes no difference
        events = functional.pad(events, (0, 0, self.num_events, 0))[:, -self.num_events :]
        # for cosines components of about 1, the size that the filters are drawn for
        found = self.convolutions(events * self.embedding_dim**0.5)
        vectors = torch.relu(self.hidden(self.dropout(found)))
        if self.user_embedding is not None:
            vectors = torch.cat([vectors, self.user_embedding(batch.users)], dim=-1)
        return self.normalize(self.output_map(vectors)).unsqueeze(1)
