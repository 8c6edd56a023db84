"""How often each item is what a RecBole model is trained to recommend: for logQ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


def target_counts(model: Any, config: Any, events: Any) -> Tensor:
    """Return (n_items,) how often each item is a target of training, or in which share of its draws.

    Args:
        model: the model.
        config: RecBole's configuration.
        events: the training data, each row with its next item and what was before it.
    """
    if not hasattr(model, "MASK_INDEX"):
        return torch.bincount(torch.as_tensor(events[model.ITEM_ID]), minlength=model.n_items)
    # RecBole's transform reads it, and 0.5 is its default for BERT4Rec
    last = float(config["ft_ratio"] or 0)
    return masked_shares(events[model.ITEM_SEQ], float(config["mask_ratio"]), last, model.n_items)


def masked_shares(sequences: Tensor, ratio: float, last: float, size: int) -> Tensor:
    """Return (size,) the share of each item in what BERT4Rec is trained on, in expectation.

    Of a row RecBole masks each position with a probability, and keeps the last ones if they are more than the
    share of a full row; of some batches only the last position. Position 0 is never trained on: its index is
    what indices are padded with.

    Args:
        sequences: (R, L) items, padded behind with 0.
        ratio: the probability of a position, and the share of L that is kept.
        last: the share of batches of which only the last position is masked.
        size: number of ids.
    """
    length = sequences.shape[1]
    kept = _kept(ratio, length)
    filled = (sequences > 0).sum(1)
    masked, final = torch.zeros(2, size, dtype=torch.double)
    for position in range(1, length):  # a position at a time: the rows are many
        rows = filled > position
        items, behind = sequences[rows, position], filled[rows] - 1 - position
        masked += torch.bincount(items, kept[behind], minlength=size)
        final += torch.bincount(items, (behind == 0).double(), minlength=size)
    # in any batch the negatives come from one of the two, so that not the counts add up, but the shares
    shares: Tensor = (1 - last) * masked / masked.sum() + last * final / final.sum()
    return shares.float()


def _kept(ratio: float, length: int) -> Tensor:
    """Return (length,) the probability that a position is masked and kept, by how many others follow it.

    It falls out of those that are kept if as many as are kept are masked behind it.
    """
    most = int(ratio * length)
    masked = torch.ones(1, dtype=torch.double)  # the probabilities that 0, 1, … of those behind it are masked
    found = []
    for _ in range(length):
        found.append(ratio * masked[:most].sum())
        masked = (1 - ratio) * pad(masked, (0, 1)) + ratio * pad(masked, (1, 0))
    return torch.stack(found)
