"""BatchMetadata: what ``RetrievalLoss.from_embeddings`` is told of a batch besides its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from lightning_croloss.common.item_lists import Ids
from lightning_croloss.losses.batches.accidental_hits import hit_mask
from lightning_croloss.losses.batches.item_ids import inner_ids
from lightning_croloss.losses.batches.reduction import Fold
from lightning_croloss.losses.batches.tile_hits import TileHits, hits_by_tile


@dataclass(frozen=True)
class BatchMetadata:
    """Ids, probabilities and weights of a batch; each is None where it is not given.

    Attributes:
        target_ids: (B,) item ids of the targets.
        candidate_ids: (M,) or (B, M) item ids of the candidates; 0 = padding.
        excluded_ids: (B, E) items that are not negatives for a row, padded with 0, or lists of them.
        log_prob: (M,) or (B, M) log q_j of each candidate.
        num_sampled: number of draws, a number or (B,); None = M.
        sample_weight: (B,) weight of each row in the mean.
        num_items: size of the catalogue; None = the number of draws.
        fold: the shape of the caller's rows, if it is not (B,).
        user_ids: (B,) id of each row's user.
        unit_candidates: whether the candidates are still to be brought to unit length.
    """

    target_ids: Tensor | None = None
    candidate_ids: Tensor | None = None
    excluded_ids: Ids | None = None
    log_prob: Tensor | None = None
    num_sampled: int | Tensor | None = None
    sample_weight: Tensor | None = None
    num_items: int | None = None
    fold: Fold | None = None
    user_ids: Tensor | None = None
    unit_candidates: bool = False

    @classmethod
    def check(
        cls,
        target_ids: Tensor | None,
        candidate_ids: Tensor | None,
        excluded_ids: Ids | None,
        log_prob: Tensor | None,
        num_sampled: int | Tensor | None,
        sample_weight: Tensor | None,
        num_items: int | None = None,
        padding_id: int | None = 0,
        unit_candidates: bool = False,
    ) -> BatchMetadata:
        """Check that the ids can be compared, and count the draws: every candidate but padding.

        Ids are kept with 0 for padding, whatever ``padding_id`` is.

        Raises:
            ValueError: there are ids to compare with ``candidate_ids``, but no ``candidate_ids``.
        """
        if candidate_ids is None and (excluded_ids is not None or target_ids is not None):
            raise ValueError(
                "target_ids and excluded_ids are compared with candidate_ids: give candidate_ids too"
            )
        target_ids = None if target_ids is None else inner_ids(target_ids, padding_id)
        candidate_ids = None if candidate_ids is None else inner_ids(candidate_ids, padding_id)
        excluded_ids = None if excluded_ids is None else inner_ids(excluded_ids, padding_id)
        if num_sampled is None and candidate_ids is not None:
            num_sampled = (candidate_ids != 0).sum(-1)
        return cls(
            target_ids,
            candidate_ids,
            excluded_ids,
            log_prob,
            num_sampled,
            sample_weight,
            num_items,
            unit_candidates=unit_candidates,
        )

    def hit_mask(self) -> Tensor | None:
        """Return which candidates to ignore, (M,) or (B, M) bool; None = ids were not given."""
        if self.candidate_ids is None:
            return None
        return hit_mask(self.candidate_ids, self.target_ids, self.excluded_ids)

    def hits_by_tile(self, rows: int, width: int) -> TileHits | None:
        """Return the same grouped by tiles of (rows, width), for candidates shared by the batch."""
        if self.candidate_ids is None:
            return None
        return hits_by_tile(self.candidate_ids, self.target_ids, self.excluded_ids, rows, width)


class VectorBatch(NamedTuple):
    """Vectors of a batch, and what is known of it.

    Attributes:
        users: (B, D).
        positives: (B, D).
        candidates: (M, D) or (B, M, D).
        metadata: ids, probabilities and weights.
    """

    users: Tensor
    positives: Tensor
    candidates: Tensor
    metadata: BatchMetadata
