"""The losses of what torch-rechub's models return, for each kind of model."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.integrations.torch_rechub_outputs import misfit, sampled_names
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.losses.batches.item_counts import CountedCatalogue


def pair_loss(loss: RetrievalLoss, model: Any, scores: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of scores of positives and of one negative each, (B,) or (B, L) both.

    The positives of SASRec's positions are its second feature (B, L), where 0 is padding.

    Raises:
        ValueError: the model returns others.
    """
    if not isinstance(scores, tuple) or len(scores) != 2:
        raise misfit(model, 1, "scores of positives and of negatives", scores)
    real = None
    if scores[0].dim() == 2 and hasattr(model, "features"):
        real = (batch[model.features[1].name] != 0).to(scores[0].dtype)
    return loss.forward(scores[0], scores[1].unsqueeze(-1), sample_weight=real)


def list_loss(
    loss: RetrievalLoss,
    model: Any,
    scores: Any,
    labels: Tensor,
    batch: Mapping[str, Tensor],
    counted: CountedCatalogue | None,
) -> Tensor:
    """Return the loss of lists of scores, (B, 1 + n) with the positive first, or (B, C) of the catalogue.

    As in torch-rechub, id 0 is padding: its column is no item, and a label 0 no target.

    Args:
        loss: the loss.
        model: the model, which says what its scores are about.
        scores: what it returns.
        labels: (B,) the targets' ids, for a model that scores the catalogue.
        batch: (B, …) the features by name.
        counted: how often each id was drawn, None = all as often.

    Raises:
        ValueError: the scores are no lists, or not as long; the labels of a model that scores the catalogue
            are all 0.
    """
    if (names := sampled_names(model)) is not None:
        target, drawn = (batch[name] for name in names)
        shape = len(drawn), 1 + drawn.shape[-1]
        if not isinstance(scores, Tensor) or scores.shape != shape:
            raise misfit(model, 2, f"scores {shape} of a target and the negatives a row", scores)
        hits = drawn == target.view(-1, 1)
        log_prob = None if counted is None else counted.log_prob_of(drawn)
        return loss.forward(scores[:, 0], scores[:, 1:], negative_mask=hits, negative_log_prob=log_prob)
    if not isinstance(scores, Tensor) or scores.dim() != 2:
        raise misfit(model, 2, "scores (B, C)", scores)
    if hasattr(model, "sample_weight_feature"):  # YoutubeSBC, which corrects for how it draws from the batch
        return loss.forward(scores[:, 0], scores[:, 1:])
    if not labels.any():
        raise ValueError(
            f"all labels are 0, which is padding: {type(model).__name__} scores the whole catalogue, so a "
            "row's label is its target's id; a model that scores sampled negatives has a neg_item_feature"
        )
    padding = torch.arange(scores.shape[1], device=scores.device) == 0
    return loss.from_logits(scores, labels, mask=padding, ignore_index=0)
