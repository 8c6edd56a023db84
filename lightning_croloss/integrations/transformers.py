"""Hugging Face's Trainer: a loss of ours as its ``compute_loss_func``."""

from typing import Any

import torch
from torch import Tensor

from croloss_serving.common.switches import check_switches
from lightning_croloss.integrations.given_loss import given_loss
from lightning_croloss.integrations.paired_outputs import named_outputs, taken_outputs
from lightning_croloss.integrations.shifted_labels import shifted
from lightning_croloss.losses import RetrievalLoss


class TrainerLoss:
    """The loss of a model's outputs and labels: ``Trainer(..., compute_loss_func=TrainerLoss(loss))``.

    Logits (B, C) or (B, L, C) and labels are those of ``RetrievalLoss.from_logits``; −100 is ignored. Pairs
    of embeddings (B, D) go to ``in_batch`` as they are, the labels (B,), if there are any, as the items' ids.
    Accumulated gradients are those of one large batch (of pairs: the mean over the batches), as with the
    Trainer's own losses. The Trainer trains what the model holds: register a learnable temperature there.

    Args:
        loss: the loss, with ``reduction`` "mean" or "sum".
        embeddings: names of a pair among the outputs; None = "logits" or, without those, a usual pair.
        shift_labels: for causal language models: position i predicts label i + 1. If they are not those of
            transformers, a row's first label must be −100: the Trainer would count it.
        accumulation_steps: the Trainer's ``gradient_accumulation_steps``, for pairs without labels: it leaves
            their division to the loss.
        user_ids: for pairs: the name of an output (B,), the users' ids; see ``in_batch``.
        **in_batch: for pairs: ``item_counts``, ``symmetric``, ``gather_across_devices``.
    """

    def __init__(
        self,
        loss: RetrievalLoss,
        embeddings: tuple[str, str] | None = None,
        *,
        shift_labels: bool = False,
        accumulation_steps: int = 1,
        user_ids: str | None = None,
        **in_batch: Any,
    ) -> None:
        if unknown := set(in_batch) - {"item_counts", "symmetric", "gather_across_devices"}:
            raise TypeError(f"{min(unknown)} is no argument of TrainerLoss")
        switches = {name: value for name, value in in_batch.items() if name != "item_counts"}
        check_switches(shift_labels=shift_labels, **switches)
        self.loss, self.in_batch = given_loss(loss), in_batch
        self.embeddings, self.user_ids = embeddings, user_ids
        self.shift_labels, self.accumulation_steps, self._counted = shift_labels, accumulation_steps, False

    def __call__(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Return the loss of a batch; ``num_items_in_batch`` counts the labels of all accumulated ones."""
        taken = taken_outputs(named_outputs(outputs), self.embeddings, self.user_ids)
        if len(taken) == 3:
            users, items, user_ids = taken
            if labels is None:
                steps = self.accumulation_steps if torch.is_grad_enabled() else 1
                return self.loss.in_batch(users, items, user_ids=user_ids, **self.in_batch) / steps
            kept = labels != -100
            given = {"user_ids": None if user_ids is None else user_ids[kept], **self.in_batch}
            value = self.loss.in_batch(users[kept], items[kept], item_ids=labels[kept], **given)
        elif labels is None:
            raise ValueError("the loss of logits needs labels: name that column of the data set 'labels'")
        else:
            logits = taken[0]
            if self.shift_labels:
                asks = not (self._counted and torch.is_grad_enabled())  # no step waits for a device again
                self._counted = self._counted or num_items_in_batch is not None
                logits, labels = logits[:, :-1], shifted(labels, num_items_in_batch if asks else None)
            value = self.loss.from_logits(logits, labels, class_dim=-1)
        if num_items_in_batch is None:
            return value
        return value * ((labels != -100).sum() if self.loss.reduction == "mean" else 1) / num_items_in_batch
