"""The losses of what torch-rechub's models return, for each kind of model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.losses.batches.item_counts import CountedCatalogue


def sampled_names(model: Any) -> tuple[str, str] | None:
    """Return the names of two features: a target's id, and those of the negatives that the data has sampled.

    None: the model takes no such negatives. SINE calls the second ``neg_item_features``, and has names in
    place of features.
    """
    drawn = getattr(model, "neg_item_feature", None) or getattr(model, "neg_item_features", None)
    if not drawn or not hasattr(model, "item_features"):
        return None
    target, negatives = (getattr(of[0], "name", of[0]) for of in (model.item_features, drawn))
    return target, negatives


def list_loss(
    loss: RetrievalLoss,
    model: Any,
    scores: Tensor,
    labels: Tensor,
    batch: Mapping[str, Tensor],
    counted: CountedCatalogue | None,
) -> Tensor:
    """Return the loss of lists of scores, (B, 1 + n) with the positive first, or (B, C) of the catalogue.

    Args:
        loss: the loss.
        model: the model, which says what its scores are about.
        scores: what it returns.
        labels: (B,) the targets' ids, for a model that scores the catalogue.
        batch: (B, …) the features by name.
        counted: how often each id was drawn, None = all as often.

    Raises:
        ValueError: the labels of a model that scores the catalogue are all 0.
    """
    if (names := sampled_names(model)) is not None:
        target, drawn = (batch[name] for name in names)
        hits, log_prob = drawn == target.view(-1, 1), counted and counted.log_prob_of(drawn)
        return loss(scores[:, 0], scores[:, 1:], negative_mask=hits, negative_log_prob=log_prob)
    if hasattr(model, "sample_weight_feature"):  # YoutubeSBC, which corrects for how it draws from the batch
        return loss(scores[:, 0], scores[:, 1:])
    if not labels.any():
        raise ValueError(
            f"all labels are 0, which is padding: {type(model).__name__} scores the whole catalogue, so a "
            "row's label is its target's id; a model that scores sampled negatives has a neg_item_feature"
        )
    return loss.from_logits(scores, labels)
