"""Encoder: users and items as vectors whose products are the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch


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
            (..., D), or (num_items, D).
        """

    def encode_catalogue(self) -> Tensor:
        """Return the vectors of all items, (num_items, D) float32, without gradient."""
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
