"""BatchMetadata: what ``RetrievalLoss.from_embeddings`` is told of a batch besides its vectors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lightning_croloss.common.item_lists import Ids
from lightning_croloss.losses.accidental_hits import AccidentalHits, hit_mask


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
    """

    target_ids: Tensor | None = None
    candidate_ids: Tensor | None = None
    excluded_ids: Ids | None = None
    log_prob: Tensor | None = None
    num_sampled: int | Tensor | None = None
    sample_weight: Tensor | None = None

    @classmethod
    def check(
        cls,
        target_ids: Tensor | None,
        candidate_ids: Tensor | None,
        excluded_ids: Ids | None,
        log_prob: Tensor | None,
        num_sampled: int | Tensor | None,
        sample_weight: Tensor | None,
    ) -> BatchMetadata:
        """Check that the ids can be compared, and count the draws: every candidate but padding.

        Raises:
            ValueError: there are ids to compare with ``candidate_ids``, but no ``candidate_ids``.
        """
        if candidate_ids is None and (excluded_ids is not None or target_ids is not None):
            raise ValueError(
                "target_ids and excluded_ids are compared with candidate_ids: give candidate_ids too"
            )
        if num_sampled is None and candidate_ids is not None:
            num_sampled = (candidate_ids != 0).sum(-1)
        return cls(target_ids, candidate_ids, excluded_ids, log_prob, num_sampled, sample_weight)

    def hit_mask(self) -> Tensor | None:
        """Return which candidates to ignore, (M,) or (B, M) bool; None = ids were not given."""
        if self.candidate_ids is None:
            return None
        return hit_mask(self.candidate_ids, self.target_ids, self.excluded_ids)

    def hits_by_tile(self, rows: int, width: int) -> AccidentalHits | None:
        """Return the same grouped by tiles of (rows, width), for candidates shared by the batch."""
        if self.candidate_ids is None:
            return None
        return AccidentalHits(self.candidate_ids, self.target_ids, self.excluded_ids, rows, width)
