"""torch-rechub: its ``MatchTrainer`` with a loss of ours; everything else is the trainer's own."""

from functools import partial
from typing import Any
from unittest.mock import patch

from torch import Tensor, nn

from lightning_croloss.integrations.framework import framework
from lightning_croloss.integrations.given_loss import given_loss
from lightning_croloss.integrations.torch_rechub_arguments import check_negatives, ids_of
from lightning_croloss.integrations.torch_rechub_losses import list_loss, pair_loss
from lightning_croloss.integrations.torch_rechub_outputs import towers
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.losses.batches.item_counts import ItemCounts

with framework("torch-rechub", "lightning-croloss[integrations]"):
    from torch_rechub import trainers
    from torch_rechub.models import matching


class MatchTrainer(trainers.MatchTrainer):
    """Trains any matching model of torch-rechub with a loss.

    The negatives are, with ``in_batch_neg``, all other items of the batch; with ``mode=1`` and ``2`` those
    that the data has sampled, the whole catalogue (NARM, STAMP) or what the model itself draws (YoutubeSBC).
    Leave ``temperature`` of the model at 1.

    Args:
        *arguments: those of torch-rechub's trainer, the model first.
        loss: the loss; its own parameters, such as a temperature, are trained along.
        item_id: name of the feature that holds the target's id, for ``in_batch_neg``.
        item_counts: (C,) how often each id is a target or, with ``mode=2``, drawn as a negative: for logQ.
        **options: those of torch-rechub's trainer.

    Raises:
        ValueError: ``mode=0`` without ``in_batch_neg``, that without ``item_id``, with ``hard_negative`` or
            ``in_batch_neg_ratio``; ``item_counts`` that are no counts or do nothing; in training, what the
            model returns is not what the mode needs, or labels are no targets of the whole catalogue.
    """

    def __init__(
        self, *arguments: Any, loss: RetrievalLoss, item_id: str = "", item_counts: Any = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        check_negatives(self, item_id, item_counts)
        self.loss, self.item_id, self.item_counts = given_loss(loss).to(self.device), item_id, item_counts
        self.counted = None if item_counts is None else ItemCounts().of(item_counts, self.device)
        if self.counted is not None and self.loss.num_items is None:
            self.loss.set_num_items(self.counted.num_items)
        if parameters := list(loss.parameters()):
            self.optimizer.add_param_group({"params": parameters, "weight_decay": 0.0})

    def train_one_epoch(self, data_loader: Any, log_interval: int = 10) -> Any:
        """Train an epoch and return the mean loss."""
        compute = partial(self._loss_of, self.model, self.mode, self.in_batch_neg)
        # what the loop takes for the model's output is the batch itself, and the criterion does the rest
        with patch.multiple(self, model=_Batches(self.model), criterion=compute, mode=2, in_batch_neg=False):
            return super().train_one_epoch(data_loader, log_interval)

    def _loss_of(self, model: Any, mode: int, in_batch: bool, batch: Any, labels: Tensor) -> Any:
        self.loss.zero_grad()
        bare = getattr(model, "module", model)
        if in_batch:
            ids, counts = ids_of(batch, self.item_id), self.item_counts
            return self.loss.in_batch(*towers(bare, batch), item_ids=ids, item_counts=counts)
        if type(bare).forward is matching.GRU4Rec.forward:  # in 0.9 summed over candidates
            scores = (bare.user_tower(batch) * bare.item_tower(batch)).sum(-1)
        else:
            scores = model(batch)
        if mode == 1:
            return pair_loss(self.loss, bare, scores, batch)
        return list_loss(self.loss, bare, scores, labels, batch, self.counted)


class _Batches(nn.Sequential):  # around the model, which the loop puts into training mode
    def forward(self, batch: Any) -> Any:
        return batch
