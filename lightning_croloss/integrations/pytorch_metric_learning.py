"""pytorch-metric-learning: a retrieval loss behind its interface of embeddings, labels and mined pairs."""

from typing import Any

from torch import Tensor

from lightning_croloss.integrations.framework import framework
from lightning_croloss.integrations.given_loss import given_loss
from lightning_croloss.losses import CROLoss, RetrievalLoss, log_prob_from_counts

with framework("pytorch-metric-learning", "lightning-croloss[integrations]"):
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import BaseMetricLossFunction, CrossBatchMemory, SelfSupervisedLoss
    from pytorch_metric_learning.utils.loss_and_miner_utils import convert_to_pairs


class MetricLearningLoss(BaseMetricLossFunction):
    """Compares each positive pair with the negative pairs of its anchor, as ``NTXentLoss`` does.

    It takes ``ref_emb``, mined pairs and triplets. Without a miner the other members of an anchor's label are
    its positives, each compared with other labels alone. With ``CROLoss(kernel="exp")`` it is ``NTXentLoss``.

    Args:
        loss: by default ``CROLoss()``. Its ``reduction`` becomes "none", since the reducer reduces.
        item_counts: (C,) how often each label is a target in the training data, by label, where labels are
            items that come as often as they are chosen: corrects for it (logQ). None = no correction.
        **kwargs: ``distance``, where None = ``CosineSimilarity()``, ``reducer`` and the like.

    Raises:
        TypeError: ``loss`` is none of this package.
        ValueError: ``item_counts`` are no counts; when called, a label has none, or there are no labels.
    """

    def __init__(
        self, loss: RetrievalLoss | None = None, *, item_counts: Tensor | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.loss = given_loss(CROLoss() if loss is None else loss, one_number=False)
        self.loss.reduction = "none"
        log_prob = None if item_counts is None else log_prob_from_counts(item_counts)
        self.register_buffer("log_prob", log_prob, persistent=False)
        if log_prob is not None and self.loss.num_items is None:
            self.loss.set_num_items(int(log_prob.isfinite().sum()))

    def get_default_distance(self) -> CosineSimilarity:
        """Return the distance that is taken where none is given."""
        return CosineSimilarity()

    def compute_loss(
        self, embeddings: Tensor, labels: Any, indices_tuple: Any, ref_emb: Tensor, ref_labels: Any
    ) -> Any:
        """Return the loss of each positive pair, for the reducer."""
        if labels is None and (indices_tuple is None or self.log_prob is not None):
            raise ValueError("labels are missing: give them, or indices_tuple without item_counts")
        own = ref_labels if ref_emb is embeddings or labels is None else ref_labels.clone()  # not themselves
        anchors, positives, rivals, negatives = convert_to_pairs(indices_tuple, labels, own)
        scores = self.distance(embeddings, ref_emb)
        alike, unlike = (scores.new_zeros(scores.shape).bool() for _ in range(2))
        alike[anchors, positives], unlike[rivals, negatives] = True, True
        rows, columns = alike.nonzero(as_tuple=True)  # each pair once, also of triplets
        if not len(rows) or not unlike.any():
            return self.zero_losses()
        scores, draws = scores if self.distance.is_inverted else -scores, (alike | unlike).sum(1) - 1
        log_prob = None if self.log_prob is None else self._log_prob_of(ref_labels)
        given = {"negative_mask": ~unlike[rows], "num_sampled": draws[rows], "negative_log_prob": log_prob}
        losses = self.loss(scores[rows, columns], scores[rows], **given)
        return {"loss": {"losses": losses, "indices": (rows, columns), "reduction_type": "pos_pair"}}

    def _log_prob_of(self, labels: Tensor) -> Tensor:
        log_prob: Tensor = self.log_prob[labels * (inside := (labels >= 0) & (labels < len(self.log_prob)))]
        if not (known := inside & log_prob.isfinite()).all():
            raise ValueError(f"item_counts, which is by label, counts no label {int(labels[~known][0])}")
        return log_prob


for wrapper in (CrossBatchMemory, SelfSupervisedLoss):  # which know the losses that they take by name
    names = [*wrapper.supported_losses(), MetricLearningLoss.__name__]
    wrapper.supported_losses = staticmethod(lambda names=names: names)
