"""Encoder: users and items as vectors whose products are the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.sharding.embedding import IdEmbedding
from lightning_croloss.sharding.row_shards import RowShards


class Encoder(LightningModule, ABC):
    """What training and evaluation need of an architecture."""

    @abstractmethod
    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the users' vectors, (B, K, D) with K interests; for cosine of unit length."""

    @abstractmethod
    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, for cosine of unit length.

        Args:
            ids: item ids of any shape ``(...)``, or None for the whole catalogue 1 … num_items.

        Returns:
            (..., D), or (num_items, D); over shards for None the items of this process, see ``item_shards``.
        """

    @property
    def item_shards(self) -> RowShards | None:
        """Which process holds which rows of the items, row i being item i; None if all are here.

        A model that says so encodes the items of its own process where it is asked for all, and is evaluated
        and asked for recommendations by all processes together.
        """
        return None

    @property
    def plain_item_table(self) -> IdEmbedding | None:
        """The table whose row i, of unit length for cosine, is the vector of item i; None: there is none.

        Where there is one, a loss over the whole catalogue takes the table itself. Then :meth:`encode_items`
        is not asked for all items in training.
        """
        return None

    def encode_catalogue(self) -> Tensor:
        """Return the vectors of all items, over shards of its own ones, (n, D) float32, without gradient."""
        with torch.no_grad():
            return self.encode_items(None).float()

    def select_interest(self, users: Tensor, positives: Tensor) -> Tensor:
        """Choose the vector that stands for each user in training: the interest closest to the target.

        Args:
            users: (B, K, D).
            positives: (B, D) vectors of the targets.

        Returns:
            (B, D).
        """
        if users.shape[1] == 1:
            return users[:, 0]
        closest = torch.einsum("bkd,bd->bk", users, positives).argmax(1)
        return users[torch.arange(users.shape[0], device=users.device), closest]
