"""CROLoss: the Customizable Recall@N Optimization Loss.

Tang et al., "CROLoss: Towards a Customizable Loss for Retrieval Models in Recommender Systems", CIKM 2022.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.host_numbers import scalar_beside
from lightning_croloss.common.products import no_autocast
from lightning_croloss.common.unread_values import is_unread
from lightning_croloss.losses.arguments import (
    check_positive_scale,
    check_rank_scaling,
    check_temperature,
    scheduled_value,
)
from lightning_croloss.losses.batches.call_scores import CallScores
from lightning_croloss.losses.batches.rows import flat_scores
from lightning_croloss.losses.batches.scored import Draws, ScoredBatch
from lightning_croloss.losses.checking.arguments_given import check_scores
from lightning_croloss.losses.checking.resolution import Comparison
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.importance import LARGEST_LOG_RANK, Importance, TargetNImportance
from lightning_croloss.losses.kernels import Kernel
from lightning_croloss.losses.rule import check_n
from lightning_croloss.losses.rule_follower import RuleFollower
from lightning_croloss.losses.settled import kernel_of, settled
from lightning_croloss.losses.weighed_rank import weighed_rank

#: Bound on log(R_φ / R_ψ) in the Lambda method, whose gradient would otherwise overflow with the exp kernel.
LARGEST_LOG_RATIO = 40.0


class CROLoss(RuleFollower):
    """Minimise ``W(R)``: R the positive's soft rank in the catalogue, W how much that rank hurts.

    With ``d_j = s_j − s₊`` and ``M`` draws out of ``N`` items the soft rank among the sampled is
    ``R̂ = 1 + Σ_j u_j φ(d_j; τ)``, and in the catalogue ``R = (N/M) R̂``. Softmax cross-entropy is
    ``kernel="exp", alpha=1``; BPR is ``softplus`` and triplet ``hinge`` with ``alpha=0``.

    ``CROLoss(n=100)`` needs nothing else: a rule (``lightning_croloss.losses.rule``) chooses kernel,
    importance and temperature for the N that will be deployed. It is asked once more when a
    ``RetrievalModel`` fills the size of the catalogue, but never for a checkpoint or config, which hold what
    it chose.

    Args:
        kernel: the comparison kernel φ: "sigmoid", "exp", "softplus", "hinge", "psl_tanh", "psl_relu",
            "psl_atan", a dictionary of a name and arguments such as ``{"name": "hinge", "margin": 1.0}``, or
            a ``Kernel``. None is the rule's choice for ``n``, and without ``n`` "sigmoid".
        importance: the weight W of a rank: "power", "exponential", "gamma", a dictionary of a name and
            arguments such as ``{"name": "target_n", "n": 50}``, or an ``Importance``. None is the rule's
            choice for ``n``, and without ``n`` ``PowerImportance(alpha=1.0)``.
        temperature: τ, by which score differences are divided. As important as everything else: tune it
            between 0.03 and 0.4 for cosine scores, smaller for a smaller N. None is the rule's choice for
            ``n``, and without ``n`` 0.1.
        lambda_weight: 0 … 1, weight of the Lambda method: the gradient of the soft rank is weighted by the
            importance of the rank that ``lambda_kernel`` gives. The value of the loss does not change.
        lambda_kernel: the kernel ψ of that rank; "heaviside" is the hard rank.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``, and means M elsewhere.
        rank_scaling: "reference": ``R = (N/M) R̂`` (the authors'); "unbiased": ``R = 1 + (N/M)(R̂ − 1)``.
        fused: whether ``from_embeddings`` computes value and gradients in tiles, without the (B, M) scores:
            the same result, faster and with little memory, but without a second derivative. None = where it
            is faster.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        positive_scale: κ of ``d_j = s_j − κ s₊``. Below 1 negatives are pushed down by more than the positive
            is pulled up, which holds back positives that the vectors could only learn by heart: where users
            and items have vectors of their own and few events (``MatrixFactorization``), try 0.8 to 0.85. It
            is for scores that say something by themselves, as cosines do; ranks are those of the scaled
            positive.
        alpha: short for ``importance=PowerImportance(alpha)``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it. Needs a kernel of ``d / τ``, so none of PSL.
        n: the N of the Recall@N that will be deployed: whatever of kernel, importance and temperature is left
            out is chosen for it by a rule. Goes with neither ``importance`` nor ``alpha``. While
            ``num_items`` is not known, the rule takes 200 items for each of the n; a batch, or the columns of
            ``from_logits``, never change what it chose.
        expected_recall: the Recall@n that you expect, 0 … 1, which the rule then takes into account.
        by_rule: never to be given by hand: the record that checkpoints and configs hold of what the rule
            was asked and what it chose. A value that is not what the record says is taken as yours, and
            another ``n`` asks the rule anew.

    Raises:
        ValueError: an argument is out of range or unknown, ``lambda_weight > 0`` with equal kernels, or two
            of ``importance``, ``alpha`` and ``n`` are given.
    """

    always_printed = ("kernel", "importance", "temperature")
    sums_over_negatives = True

    def __init__(
        self,
        kernel: str | Kernel | dict[str, Any] | None = None,
        importance: Importance | str | dict[str, Any] | None = None,
        temperature: float | None = None,
        lambda_weight: float = 0.0,
        lambda_kernel: str | Kernel | dict[str, Any] = "sigmoid",
        num_items: int | None = None,
        rank_scaling: str = "reference",
        fused: bool | None = None,
        *,
        reduction: str = "mean",
        positive_scale: float = 1.0,
        alpha: float | None = None,
        learnable_temperature: bool = False,
        n: float | None = None,
        expected_recall: float | None = None,
        by_rule: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_items, fused, reduction=reduction)
        chosen = settled(kernel, importance, temperature, alpha, n, num_items, expected_recall, by_rule)
        self.lambda_kernel = kernel_of(lambda_kernel, "lambda_kernel")
        self._take_kernel(chosen.kernel)
        self.importance = chosen.importance
        if not self.kernel.differentiable:
            raise ValueError(f"kernel {self.kernel.name!r} has no gradient: it serves only as lambda_kernel")
        self.rank_scaling = check_rank_scaling(rank_scaling)
        self.positive_scale = check_positive_scale(positive_scale)
        self.check_value("temperature", chosen.temperature)
        self.check_value("lambda_weight", lambda_weight)
        self.temperature = scheduled_value(chosen.temperature)
        self.lambda_weight = scheduled_value(lambda_weight)
        if learnable_temperature:
            self.learn_temperature(self.kernel, self.lambda_kernel)
        self._by_rule = chosen.record
        if n is None:
            self._leave_unrecorded(CROLoss, "n", "expected_recall", "by_rule")
        # a checkpoint says what was chosen, in one form
        self._record_found(
            kernel=_recorded(kernel, self.kernel),
            lambda_kernel=_recorded(lambda_kernel, self.lambda_kernel),
            importance=self.importance,
            temperature=chosen.temperature,
            alpha=None,
            **({} if n is None else {"by_rule": self.by_rule}),
        )

    def _record_found(self, **found: Any) -> None:
        """Record what the constructor, or a rule since, has found for arguments that were left out."""
        self._record_chosen(CROLoss, **found)
        if type(self) is not CROLoss:  # whose constructor may give some of them itself
            given = self._init_arguments
            again = ("by_rule",) if self._by_rule else ("kernel", "temperature")
            left_out = {name: found[name] for name in again if name == "by_rule" or given.get(name) is None}
            self._record_passed_on(CROLoss, **left_out)

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``temperature``, ``lambda_weight`` and the importance's parameters (``alpha`` or ``n``).

        A temperature that is learned is not among them.
        """
        fixed = {} if self.raw_temperature is not None else {"temperature": self.temperature}
        return fixed | {"lambda_weight": self.lambda_weight} | self.importance.schedulable()

    def check_value(self, name: str, value: float) -> None:
        """Raise ``ValueError`` if ``name`` must not be ``value``."""
        if name == "temperature":
            check_temperature(value)
            self.kernel.check_temperature(value)
            self.lambda_kernel.check_temperature(value)
        elif name == "lambda_weight":
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"lambda_weight must be between 0 and 1, got {value}")
            if value > 0.0 and self._same_kernels:
                raise ValueError(
                    f"lambda_weight > 0 does nothing when kernel and lambda_kernel are both "
                    f"{self.kernel.name!r}: choose kernel='softplus' or 'exp', or another lambda_kernel"
                )
        elif name == "n" and self._by_rule is not None:
            check_n(value, self.num_items)
        else:
            self.importance.check_value(name, value, self.num_items)

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return W(R) of each row, (B,); its gradient holds the Lambda weights."""
        difference = batch.difference
        log_rank = self._log_rank(self.kernel, difference, batch)
        rank, other = log_rank.detach(), None
        if self._uses_lambda():
            with torch.no_grad():
                other = self._log_rank(self.lambda_kernel, difference, batch)
        value, slope = self._weigh(rank, other, batch.draws.num_items)
        self.keep_diagnostics(rank)
        # the value is W(R_φ) whatever the Lambda weight
        slope_of = self.importance.slope if other is None else None
        return weighed_rank(log_rank, value, slope, batch.draws.num_items, slope_of)

    def fused_form(self, draws: Draws) -> FusedForm:
        """Return what the fused path must know of the loss."""
        unbiased = self.rank_scaling == "unbiased"
        return FusedForm(
            self.kernel,
            float(self.temperature),
            self._weigh,
            self.lambda_kernel if self._uses_lambda() else None,
            log_inner=draws.log_scale if unbiased else None,
            log_outer=None if unbiased or draws.known_ratio == 1.0 else draws.log_scale,
        )

    def _weigh(self, rank: Tensor, other: Tensor | None, num_items: Tensor) -> tuple[Tensor, Tensor]:
        """Return W and the weight of ∇ log R; the arguments are log R by φ, by ψ, and N."""
        slope = self.importance.slope(rank, num_items)
        if other is not None:
            # dW/dR at the other rank, times dR/dℓ of this one
            ratio = torch.exp((rank - other).clamp(max=LARGEST_LOG_RATIO))
            other_slope = self.importance.slope(other, num_items) * ratio
            slope = torch.lerp(slope, other_slope, scalar_beside(self.lambda_weight, rank))
        return self.importance.value(rank, num_items), slope

    def keep_diagnostics(self, log_ranks: Tensor) -> None:
        """Keep the mean and the best soft rank, for logging."""
        ranks = log_ranks.clamp(max=LARGEST_LOG_RANK).exp()
        self.diagnostics["soft_rank"] = ranks.mean()
        self.diagnostics["best_soft_rank"] = ranks.min()

    def soft_rank(
        self,
        positive_scores: Tensor,
        negative_scores: Tensor,
        *,
        negative_mask: Tensor | None = None,
        negative_log_prob: Tensor | None = None,
        num_sampled: int | Tensor | None = None,
    ) -> Tensor:
        """Return the soft rank R in the catalogue of each positive, (B,) or (B, L).

        The arguments are those of :meth:`forward`, and what it raises. Ranks are cut at e⁶⁰; a row without
        any draw has rank 1.
        """
        negative_scores = check_scores(
            positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, None
        )
        shape = positive_scores.shape
        if positive_scores.dim() == 2:
            positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, _ = flat_scores(
                positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, None
            )
        if not is_unread(negative_scores):
            self._inspection.of_scores(positive_scores, negative_scores, negative_mask, negative_log_prob)
        self._scheduled.check(self)
        batch = ScoredBatch.check(
            positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, self.num_items
        )
        batch = replace(batch, positive_scores=self._scaled(batch.positive_scores))
        batch = self.batch_at_temperature(batch)
        if batch.negative_scores.numel() == 0:
            return torch.ones_like(batch.positive_scores).view(shape)
        with no_autocast(positive_scores.device):
            rank = self._log_rank(self.kernel, batch.difference, batch).clamp(max=LARGEST_LOG_RANK).exp()
        return torch.where(batch.draws.has_draws, rank, torch.ones_like(rank)).view(shape)

    def _log_rank(self, kernel: Kernel, difference: Tensor, batch: ScoredBatch) -> Tensor:
        """Return log R, (B,)."""
        log_scale = batch.draws.log_scale
        log_weight = batch.draws.log_weight
        if self.rank_scaling == "unbiased":  # R = 1 + r Σ u φ: each term is r times as large
            column = log_scale.unsqueeze(-1)
            log_weight = column if log_weight is None else log_weight + column
        temperature = self.temperature.to(difference.dtype)
        if kernel.sums_logarithms:
            terms = kernel.log_value(difference, temperature)
            if log_weight is not None:
                terms = terms + log_weight
            if batch.negative_mask is not None:
                terms = terms.masked_fill(batch.negative_mask, float("-inf"))
            # log(1 + Σ exp(terms)), safe when every term is −∞
            largest = batch.largest(terms).clamp(min=0.0)
            total = torch.exp(-largest) + batch.sum(torch.exp(terms - largest.unsqueeze(1)))
            log_rank = largest + torch.log(total)
        else:
            terms = kernel.value(difference, temperature)
            if log_weight is not None:
                terms = terms * torch.exp(log_weight)
            if batch.negative_mask is not None:
                terms = terms.masked_fill(batch.negative_mask, 0.0)
            log_rank = torch.log1p(batch.sum(terms))
        return log_rank if self.rank_scaling == "unbiased" else log_rank + log_scale

    def _uses_lambda(self) -> bool:
        if self._same_kernels:
            return False
        # a compiled graph must hold for every value that a schedule may set later
        return torch.compiler.is_compiling() or float(self.lambda_weight) > 0.0

    def comparison(self) -> Comparison:
        """Return the kernel and the temperature of now."""
        return Comparison(self.kernel, float(self.temperature))

    def inspect_scores(self, scores: CallScores) -> None:
        """Warn about a target rank that the draws cannot show, besides what every loss warns of."""
        super().inspect_scores(scores)
        if not isinstance(self.importance, TargetNImportance):
            return
        if scores.num_items is None:
            self._warn_once(
                "target without catalogue",
                f"n={float(self.importance.n):g} is a rank among the {scores.num_candidates} candidates of a "
                "row, as the size of the catalogue is not known: give num_items",
            )
            return
        smallest = scores.num_items / max(1, scores.num_candidates)
        if float(self.importance.n) < smallest:
            self._warn_once(
                "target below resolution",
                f"n={float(self.importance.n):g} is below N/M = "
                f"{scores.num_items}/{scores.num_candidates} = {smallest:.3g}, the smallest rank that so few "
                "negatives can see: draw more, or use FullCatalogNegatives",
            )


def _recorded(given: str | Kernel | dict[str, Any] | None, kernel: Kernel) -> str | Kernel:
    return kernel.name if given is None or isinstance(given, str) else kernel
