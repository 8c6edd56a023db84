"""RetrievalLoss: the contract that every loss of this package keeps."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lightning_croloss.common.item_lists import Ids
from lightning_croloss.configurable import Configurable
from lightning_croloss.losses.metadata import BatchMetadata
from lightning_croloss.losses.scored import ScoredBatch, check_sample_weight


class RetrievalLoss(Configurable, nn.Module, ABC):
    """A loss over one positive and many negatives, blind to the model that scored them.

    A subclass implements :meth:`row_losses`. Callers use ``loss(positive_scores, negative_scores)`` when they
    have scores, or :meth:`from_embeddings` when they have vectors.

    Attributes:
        num_items: size of the catalogue N. None, when left out, is filled by ``RetrievalModel``; outside a
            model it stays None and the negatives count as the whole catalogue.
        diagnostics: detached scalars of the last forward pass, for logging (CROLoss: ``soft_rank``).
    """

    def __init__(self, num_items: int | None = None) -> None:
        super().__init__()
        if num_items is not None and num_items < 1:
            raise ValueError(f"num_items must be at least 1, got {num_items}")
        self.num_items = num_items
        self.diagnostics: dict[str, Tensor] = {}
        self._warned: set[str] = set()

    @abstractmethod
    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the loss of each row, (B,); the batch has at least one row and one negative."""

    def forward(
        self,
        positive_scores: Tensor,
        negative_scores: Tensor,
        *,
        negative_mask: Tensor | None = None,
        negative_log_prob: Tensor | None = None,
        num_sampled: int | Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss from scores.

        Args:
            positive_scores: (B,) score of each row's positive.
            negative_scores: (B, M) scores of its negatives.
            negative_mask: (M,) or (B, M) bool, True = ignore (padding, accidental hits, known positives).
            negative_log_prob: (M,) or (B, M) log q_j, the probability of item j in one draw of the sampler;
                None = uniform.
            num_sampled: number of draws, a number or (B,). Default M: ignored draws are draws too, only
                padding is not. Rows without any draw have loss 0.
            sample_weight: (B,) weight of each row in the mean.

        Returns:
            Scalar: the (weighted) mean over the batch, in float32 or float64.

        Raises:
            ValueError: shapes do not fit, or ``negative_log_prob`` comes without a catalogue size.
        """
        batch = ScoredBatch.check(
            positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, self.num_items
        )
        if sample_weight is not None:
            check_sample_weight(sample_weight, positive_scores.shape[0])
        if batch.negative_scores.numel() == 0:
            return (batch.positive_scores * 0.0).sum()  # nothing to compare with: loss 0, gradient 0
        with torch.autocast(positive_scores.device.type, enabled=False):
            losses = self.row_losses(batch)
        losses = torch.where(batch.draws.has_draws, losses, torch.zeros_like(losses))
        if sample_weight is None:
            return losses.mean()
        weights = sample_weight.to(losses.dtype)
        return (weights * losses).sum() / weights.sum().clamp(min=torch.finfo(losses.dtype).tiny)

    def from_embeddings(
        self,
        users: Tensor,
        positives: Tensor,
        candidates: Tensor,
        *,
        target_ids: Tensor | None = None,
        candidate_ids: Tensor | None = None,
        excluded_ids: Ids | None = None,
        candidate_log_prob: Tensor | None = None,
        num_sampled: int | Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss from vectors, by their dot products.

        Args:
            users: (B, D) user vectors.
            positives: (B, D) vectors of the targets.
            candidates: (M, D) negatives shared by the batch, or (B, M, D) negatives of each row.
            target_ids: (B,) item ids of the targets: a candidate equal to its row's target is not a negative.
            candidate_ids: (M,) or (B, M) item ids of the candidates; 0 = padding, which does not count as a
                draw.
            excluded_ids: (B, E) items that are not negatives for a row, padded with 0, or lists of them.
            candidate_log_prob: (M,) or (B, M) log q_j of each candidate.
            num_sampled: number of draws, a number or (B,). Default: the candidates that are not padding.
            sample_weight: (B,) weight of each row in the mean.

        Returns:
            Scalar loss, as :meth:`forward` returns it for the vectors' dot products.

        Raises:
            ValueError: shapes do not fit, ids to compare come without ``candidate_ids``, or
                ``candidate_log_prob`` without a catalogue size.
        """
        metadata = BatchMetadata.check(
            target_ids, candidate_ids, excluded_ids, candidate_log_prob, num_sampled, sample_weight
        )
        return self._loss_of_vectors(users, positives, candidates, metadata)

    def _loss_of_vectors(
        self, users: Tensor, positives: Tensor, candidates: Tensor, metadata: BatchMetadata
    ) -> Tensor:
        """Compute all scores, then the loss from them; the vectors are those of :meth:`from_embeddings`."""
        positive_scores = (users * positives).sum(-1)
        if candidates.dim() == 2:
            negative_scores = users @ candidates.T
        else:
            negative_scores = torch.einsum("bd,bmd->bm", users, candidates)
        return self.forward(
            positive_scores,
            negative_scores,
            negative_mask=metadata.hit_mask(),
            negative_log_prob=metadata.log_prob,
            num_sampled=metadata.num_sampled,
            sample_weight=metadata.sample_weight,
        )

    def schedulable(self) -> dict[str, Tensor]:
        """Return the values that may change while training, by name.

        They are scalar tensors that stay on the CPU in float64, so that reading one never waits for a GPU and
        none is rounded by ``.half()``; ``loss.schedulable()["temperature"].fill_(0.2)`` sets one. They are
        not part of the state dictionary: they follow from the constructor's arguments and the step.
        """
        return {}

    def check_value(self, name: str, value: float) -> None:
        """Raise ``ValueError`` if the schedulable ``name`` must not be set to ``value``."""

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(message, stacklevel=3)
