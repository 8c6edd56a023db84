"""What is changed in a RecBole model: its criterion, and a table of items of unit length."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.integrations.framework import framework
from lightning_croloss.integrations.recbole_counts import target_counts
from lightning_croloss.integrations.recbole_criterion import RetrievalCriterion
from lightning_croloss.integrations.recbole_fit import unfit

with framework("RecBole", "lightning-croloss[recbole]"):
    from recbole.model.loss import BPRLoss


def replace_criterion(model: Any, name: str, config: Any, events: Any) -> RetrievalCriterion:
    """Put a RetrievalCriterion in the place of the criterion that the model's recommendations are trained by.

    Args:
        model: the model.
        name: its name, for errors.
        config: RecBole's configuration.
        events: the training data.

    Raises:
        ValueError: the settings do not fit, or there is nothing to replace.
    """
    kinds, names = (nn.CrossEntropyLoss, BPRLoss), ("loss_fct", "mf_loss", "rec_loss", "loss")
    own = [name for name in names if isinstance(getattr(model, name, None), kinds)]
    if not own and not hasattr(model, "MASK_INDEX"):
        raise ValueError(f"{name} has no CrossEntropyLoss or BPRLoss that another loss could replace")
    place = own[0] if own else names[0]
    ignored = getattr(getattr(model, place, None), "ignore_index", -100)
    counts = target_counts(model, config, events)
    criterion = RetrievalCriterion(name, config["retrieval_loss"], counts, ignored)
    setattr(model, place, criterion)
    return criterion


def masked_positions(model: Any, criterion: RetrievalCriterion) -> tuple[Tensor, Tensor]:
    """Return logits (R, num_items + 1) and labels (R,) of the R positions that BERT4Rec masks in a batch."""
    batch = criterion.batch
    hidden, index = model.forward(batch[model.MASK_ITEM_SEQ]), batch[model.MASK_INDEX]
    rows, columns = (index > 0).nonzero(as_tuple=True)
    users, items = hidden[rows, index[rows, columns]], model.item_embedding.weight[: model.n_items]
    labels = batch[model.POS_ITEMS][rows, columns]
    criterion.expect(batch, labels, (users, items))
    return users @ items.T + model.output_bias, labels


def unit_items(model: Any, name: str) -> None:
    """Give a model's item embeddings unit length.

    Args:
        model: the model.
        name: its name, for errors.

    Raises:
        ValueError: it has none.
    """
    if not isinstance(getattr(model, "item_embedding", None), nn.Embedding):
        raise unfit(name)
    register_parametrization(model.item_embedding, "weight", UnitLength())


class UnitLength(nn.Module):
    """The parametrization of a table whose rows have unit length."""

    def forward(self, table: Tensor) -> Tensor:
        """Return the rows (n, D) with length 1, zeros as zeros."""
        return unit_length(table)
