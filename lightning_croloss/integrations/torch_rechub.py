"""torch-rechub: its ``MatchTrainer`` with a loss of ours; everything else is the trainer's own."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch_rechub import trainers

from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.log_prob import log_prob_from_counts


class MatchTrainer(trainers.MatchTrainer):
    """Trains any matching model of torch-rechub with a loss.

    With ``in_batch_neg=True`` all other items of the batch are negatives. With ``mode=2`` those that the data
    has sampled are, or the whole catalogue (NARM, STAMP); leave the model's own ``temperature`` at 1. With
    ``mode=1`` a row has one negative.

    Args:
        model: a matching model.
        mode: 1 pair-wise, 2 list-wise, 0 with ``in_batch_neg`` alone.
        loss: the loss; its own parameters, such as a temperature, are trained along.
        item_id: name of the feature that holds the target's id, for ``in_batch_neg``.
        item_counts: (C,) how often each id is a target or, with ``mode=2``, drawn as a negative: for logQ.
        **arguments: those of torch-rechub's trainer.

    Raises:
        ValueError: ``mode=0`` without ``in_batch_neg``, or that without ``item_id``.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: int = 0,
        *,
        loss: RetrievalLoss,
        item_id: str = "",
        item_counts: Tensor | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(model, mode, **arguments)
        if mode == 0 and not self.in_batch_neg:
            raise ValueError("mode=0 has no negatives: pass in_batch_neg=True, or mode=1 or 2 and its data")
        if self.in_batch_neg and not item_id:
            raise ValueError("in_batch_neg=True needs item_id: the name of the feature with the target's id")
        self.loss, self.item_id = loss.to(self.device), item_id
        self.item_counts = None if item_counts is None else item_counts.to(self.device)
        if parameters := list(loss.parameters()):
            self.optimizer.add_param_group({"params": parameters, "weight_decay": 0.0})

    def train_one_epoch(self, data_loader: Any, log_interval: int = 10) -> Any:
        """Train an epoch and return the mean loss."""
        kept = self.model, self.mode, self.in_batch_neg, self.criterion
        self.criterion = partial(self._loss_of, *kept[:3])
        self.model, self.mode, self.in_batch_neg = _Batches(self.model), 2, False
        try:
            return super().train_one_epoch(data_loader, log_interval)
        finally:
            self.model, self.mode, self.in_batch_neg, self.criterion = kept

    def _loss_of(self, model: Any, mode: int, in_batch: bool, batch: Any, labels: Tensor) -> Tensor:
        self.loss.zero_grad()
        bare = getattr(model, "module", model)
        if in_batch:
            users, items = bare.user_tower(batch).squeeze(1), bare.item_tower(batch)
            items = items if items.dim() == 2 else items[:, 0]  # behind it come sampled negatives
            ids = batch[self.item_id].flatten()
            return self.loss.in_batch(users, items, item_ids=ids, item_counts=self.item_counts)
        scores = model(batch)
        if mode == 1:
            return self.loss(scores[0], scores[1].unsqueeze(-1))
        if not hasattr(bare, "neg_item_feature"):
            return self.loss.from_logits(scores, labels)
        target, drawn = (batch[of[0].name] for of in (bare.item_features, bare.neg_item_feature))
        log_prob = None if self.item_counts is None else log_prob_from_counts(self.item_counts)[drawn]
        hits = drawn == target.view(-1, 1)
        return self.loss(scores[:, 0], scores[:, 1:], negative_mask=hits, negative_log_prob=log_prob)


class _Batches(nn.Sequential):
    """The model in the trainer's loop: it hands each batch on to where the loss is computed."""

    def forward(self, batch: Any) -> Any:
        return batch
