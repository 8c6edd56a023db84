"""pytorch-metric-learning: a retrieval loss behind its interface of embeddings, labels and mined pairs."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import BaseMetricLossFunction, CrossBatchMemory, SelfSupervisedLoss
from pytorch_metric_learning.utils.loss_and_miner_utils import convert_to_pairs
from torch import Tensor

from lightning_croloss.losses import CROLoss, RetrievalLoss, log_prob_from_counts


class MetricLearningLoss(BaseMetricLossFunction):
    """Compares each positive pair with the negative pairs of its anchor, as ``NTXentLoss`` does.

    Takes what the losses of pytorch-metric-learning take: mined pairs or triplets, ``ref_emb``, a distance, a
    reducer, regularizers; ``CrossBatchMemory`` and ``SelfSupervisedLoss`` take it. Without a miner the other
    members of an anchor's label are its positives, each compared with the members of other labels alone.
    ``MetricLearningLoss(CROLoss(kernel="exp", temperature=0.07))`` is ``NTXentLoss(temperature=0.07)``.

    Args:
        loss: any loss of this package, by default ``CROLoss()``. Its ``reduction`` becomes "none": the reducer
            reduces.
        item_counts: (C,) how often each label is a target in the training data, by label, for labels that are
            items and come as often as they are chosen: corrects for it (logQ). None = no correction.
        **kwargs: ``distance``, by default ``CosineSimilarity()``; of a distance that is small for what is
            alike the negative is the score. ``reducer``, by default the mean over pairs, and the like.

    Raises:
        TypeError: ``loss`` is none of this package.
        ValueError: ``item_counts`` are no counts, or (when called) a label is not among them.
    """

    def __init__(
        self, loss: RetrievalLoss | None = None, *, item_counts: Tensor | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(loss, RetrievalLoss | None):
            raise TypeError(f"loss must be a loss of lightning_croloss such as CROLoss(), got {loss!r}")
        self.loss = CROLoss() if loss is None else loss
        self.loss.reduction = "none"
        log_prob = None if item_counts is None else log_prob_from_counts(item_counts)
        self.register_buffer("log_prob", log_prob, persistent=False)
        if log_prob is not None and self.loss.num_items is None:
            self.loss.num_items = int(log_prob.isfinite().sum())

    def get_default_distance(self) -> CosineSimilarity:
        """Return the distance that is taken where none is given."""
        return CosineSimilarity()

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: tuple[Tensor, ...] | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> dict[str, dict[str, Any]]:
        """Return the loss of each positive pair, for the reducer."""
        if labels is None and indices_tuple is None:
            raise ValueError("labels or indices_tuple must say which embeddings belong together: give one")
        anchors, positives, rivals, negatives = convert_to_pairs(indices_tuple, labels, ref_labels)
        scores = self.distance(embeddings, ref_emb)
        scores = scores if self.distance.is_inverted else -scores
        alike, unlike = (torch.zeros_like(scores, dtype=torch.bool) for _ in range(2))
        alike[anchors, positives], unlike[rivals, negatives] = True, True
        rows, columns = alike.nonzero(as_tuple=True)  # each pair once, also of triplets
        if not len(rows) or not unlike.any():
            return self.zero_losses()
        losses = self.loss(
            scores[rows, columns],
            scores[rows],
            negative_mask=~unlike[rows],
            negative_log_prob=self._log_prob_of(ref_labels),
            num_sampled=((alike | unlike).sum(1) - 1)[rows],  # other positives are draws that hit
        )
        return {"loss": {"losses": losses, "indices": (rows, columns), "reduction_type": "pos_pair"}}

    def _log_prob_of(self, labels: Tensor | None) -> Tensor | None:
        if self.log_prob is None:
            return None
        if labels is None:
            raise ValueError("item_counts is indexed by labels: give labels, and ref_labels with ref_emb")
        inside = (labels >= 0) & (labels < len(self.log_prob))
        log_prob = self.log_prob[labels * inside]
        if not (known := inside & log_prob.isfinite()).all():
            raise ValueError(f"item_counts has no count for label {int(labels[~known][0])}, by which it is indexed")
        return log_prob


for wrapper in (CrossBatchMemory, SelfSupervisedLoss):  # they take losses by the names of a list
    names = [*wrapper.supported_losses(), MetricLearningLoss.__name__]
    wrapper.supported_losses = staticmethod(lambda names=names: names)
