"""RetrievalLoss: the contract that every loss of this package keeps."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_croloss.configurable import Configurable
from lightning_croloss.losses.fused.loss import (
    FEWEST_SCORES,
    LinearForm,
    check_vectors,
    fused_loss,
    sample_of_differences,
)
from lightning_croloss.losses.masking import ignored_candidates
from lightning_croloss.losses.scored import (
    Draws,
    ScoredBatch,
    check_sample_weight,
    rank_dtype,
    row_weights,
)


class RetrievalLoss(Configurable, nn.Module, ABC):
    """A loss over one positive and many negatives, blind to the model that scored them.

    A subclass implements :meth:`row_losses`. Callers use ``loss(positive_scores, negative_scores)`` when they
    have scores, or :meth:`from_embeddings` when they have vectors.

    Attributes:
        num_items: size of the catalogue N. None, when left out, is filled by ``RetrievalModel``; outside a
            model it stays None and the negatives count as the whole catalogue.
        diagnostics: detached scalars of the last forward pass, for logging (CROLoss: ``soft_rank``).
        fused: whether :meth:`from_embeddings` takes the fused path (see linear.py), which never holds the
            (B, M) scores; None = where it is faster. A loss without that path ignores it.
    """

    has_fused_path = False
    fused: bool | None = None

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
        excluded_ids: Tensor | None = None,
        candidate_log_prob: Tensor | None = None,
        num_sampled: int | Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss from vectors, by their dot products.

        Args:
            users: (B, D) user vectors.
            positives: (B, D) vectors of the targets.
            candidates: (M, D) negatives shared by the batch, or (B, M, D) negatives of each row.
            target_ids: (B,) item ids of the targets: a candidate equal to its row's target is no negative.
            candidate_ids: (M,) or (B, M) item ids of the candidates; 0 = padding, which is not even a draw.
            excluded_ids: (B, E) items that are no negatives for a row, padded with 0.
            candidate_log_prob: (M,) or (B, M) log q_j of each candidate.
            num_sampled: number of draws where it is not the number of candidates that are not padding.
            sample_weight: (B,) weight of each row in the mean.

        Returns:
            Scalar loss.
        """
        if candidate_ids is None and (excluded_ids is not None or target_ids is not None):
            raise ValueError(
                "target_ids and excluded_ids are compared with candidate_ids: give candidate_ids too"
            )
        if num_sampled is None and candidate_ids is not None:
            num_sampled = (candidate_ids != 0).sum(-1)
        if self._takes_fused_path(users, candidates, candidate_log_prob, sample_weight):
            loss: Tensor = self._fused_loss(
                users,
                positives,
                candidates,
                target_ids,
                candidate_ids,
                excluded_ids,
                candidate_log_prob,
                num_sampled,
                sample_weight,
            )
            return loss
        positive_scores = (users * positives).sum(-1)
        if candidates.dim() == 2:
            negative_scores = users @ candidates.T
        else:
            negative_scores = torch.einsum("bd,bmd->bm", users, candidates)
        negative_mask = None
        if candidate_ids is not None:
            negative_mask = ignored_candidates(candidate_ids, target_ids, excluded_ids)
        return self.forward(
            positive_scores,
            negative_scores,
            negative_mask=negative_mask,
            negative_log_prob=candidate_log_prob,
            num_sampled=num_sampled,
            sample_weight=sample_weight,
        )

    def linear_form(self, draws: Draws) -> LinearForm | None:
        """Return what the fused path must know of the loss; None = the loss has no such path."""
        return None

    def look_at(self, columns: int, differences: Callable[[], Tensor]) -> None:
        """Warn of scores that the loss cannot work with; called in each forward pass.

        Args:
            columns: number of candidates M.
            differences: gives ``s_j − s₊`` of all pairs or of a sample of them.
        """

    def keep_diagnostics(self, log_ranks: Tensor) -> None:
        """Keep what :attr:`diagnostics` shows of the ranks, given as logarithms without gradient, (B,)."""

    def _takes_fused_path(
        self, users: Tensor, candidates: Tensor, log_prob: Tensor | None, sample_weight: Tensor | None
    ) -> bool:
        """Return whether to take the fused path.

        Raises:
            ValueError: ``fused=True`` where there is no such path.
        """
        if self.fused is False or not self.has_fused_path or users.numel() == 0 or candidates.numel() == 0:
            return False
        obstacle = None
        if candidates.dim() != 2:
            obstacle = f"candidates must be (M, D), shared by the batch, got {tuple(candidates.shape)}"
        elif any(given is not None and given.requires_grad for given in (log_prob, sample_weight)):
            obstacle = "candidate_log_prob and sample_weight get no gradient"
        if obstacle is None:
            return bool(self.fused) or users.shape[0] * candidates.shape[0] >= FEWEST_SCORES
        if self.fused:
            raise ValueError(f"with fused=True {obstacle}: leave fused out")
        return False

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _fused_loss(
        self,
        users: Tensor,
        positives: Tensor,
        candidates: Tensor,
        target_ids: Tensor | None,
        candidate_ids: Tensor | None,
        excluded_ids: Tensor | None,
        log_prob: Tensor | None,
        num_sampled: int | Tensor | None,
        sample_weight: Tensor | None,
    ) -> Tensor:
        rows, columns = users.shape[0], candidates.shape[0]
        check_vectors(users, positives, candidates)
        dtype = rank_dtype(users.dtype, positives.dtype, candidates.dtype)
        shape = torch.Size((rows, columns))
        draws = Draws.check(shape, dtype, users.device, log_prob, num_sampled, self.num_items)
        form = self.linear_form(draws)
        assert form is not None
        self.look_at(columns, lambda: sample_of_differences(users, positives, candidates))
        loss, log_ranks = fused_loss(
            form,
            draws,
            users,
            positives,
            candidates,
            target_ids=target_ids,
            candidate_ids=candidate_ids,
            excluded_ids=excluded_ids,
            row_weight=row_weights(sample_weight, draws.has_draws, rows, dtype),
        )
        self.keep_diagnostics(log_ranks)
        return loss

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


def scheduled_value(value: float) -> Tensor:
    """Make the scalar that holds a schedulable value (see :meth:`RetrievalLoss.schedulable`)."""
    return torch.tensor(float(value), dtype=torch.float64)


def check_temperature(temperature: float) -> float:
    """Return ``temperature`` if it is a positive finite number, else raise ``ValueError``."""
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a positive number, got {temperature}")
    return float(temperature)


def check_rank_scaling(rank_scaling: str) -> str:
    """Return ``rank_scaling`` if it is one of the two, else raise ``ValueError``."""
    if rank_scaling not in ("reference", "unbiased"):
        raise ValueError(f'rank_scaling must be "reference" or "unbiased", got {rank_scaling!r}')
    return rank_scaling
