"""MatrixFactorization: a vector for each user, a vector for each item."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_croloss.common.checks import check_counts
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.known_users import refuse_unseen_users
from lightning_croloss.models.layers import id_embeddings, rows_of_ids
from lightning_croloss.models.retrieval_model import RetrievalModel
from lightning_croloss.sharding.embedding import IdEmbedding


class MatrixFactorization(RetrievalModel):
    """Learn a vector for each user and each item; the score is their similarity.

    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009, with any loss. It
    sees no history, so a user's first event trains it like any other, and it knows those users only that it
    was trained on. Regularise by the optimizer's ``weight_decay``.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data.
        **kwargs: arguments of ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range.
    """

    needs_history = False
    needs_known_users = True
    user_embedding: IdEmbedding
    item_embedding: IdEmbedding

    def __init__(self, num_items: int, num_users: int, **kwargs: Any) -> None:
        super().__init__(num_items, **kwargs)
        check_counts(num_users=num_users)
        self.num_users = num_users
        self.user_embedding, self.item_embedding = id_embeddings(num_users, num_items, dim=self.embedding_dim)

    def setup(self, stage: str) -> None:
        """Take from the data what training needs.

        Raises:
            ValueError: the split evaluates users whom training never sees.
        """
        super().setup(stage)
        refuse_unseen_users(
            self.data,
            type(self).__name__,
            "split by LeaveOneOut, for example, or choose a model of histories",
        )

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D); zeros for user 0."""
        return self.normalize(self.user_embedding(batch.users)).unsqueeze(1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, (..., D), or (num_items, D); over shards those of this process."""
        return self.normalize(rows_of_ids(self.item_embedding) if ids is None else self.item_embedding(ids))

    @property
    def plain_item_table(self) -> IdEmbedding | None:
        """The table whose rows make the vectors of items."""
        return self.table_behind(MatrixFactorization, "encode_items")
