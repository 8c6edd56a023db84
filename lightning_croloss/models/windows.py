"""Windows: training rows with a target at each position of the history, taken apart."""

from __future__ import annotations

from torch import Tensor

from lightning_croloss.common.item_lists import rows_of
from lightning_croloss.data.batch import RetrievalBatch


def targets_of_windows(batch: RetrievalBatch, who: str) -> Tensor:
    """Return the targets (B, L) of a batch of windows.

    Args:
        batch: the batch.
        who: what needs them, for the message.

    Raises:
        ValueError: the batch has no target for each position of the history.
    """
    targets = batch.padded_targets
    if targets.shape != batch.history.shape:
        raise ValueError(
            f"{who} needs targets of the shape {tuple(batch.history.shape)} of the history, got "
            f"{tuple(targets.shape)}: call "
            "prepare_for(DataRequest(all_positions=True)) on the data module"
        )
    return targets


def one_by_one(batch: RetrievalBatch, targets: Tensor, rows: Tensor, positions: Tensor) -> RetrievalBatch:
    """Return a batch of P rows with one target each, and in the history the event before it alone.

    Args:
        batch: a batch of windows.
        targets: (B, L) its targets.
        rows: (P,) rows of the targets that are wanted.
        positions: (P,) their positions.
    """
    weight, known = batch.sample_weight, batch.known_positives
    return RetrievalBatch(
        history=batch.history[rows, positions].unsqueeze(1),
        targets=targets[rows, positions].unsqueeze(1),
        users=batch.users[rows],
        sample_weight=None if weight is None else weight[rows, positions],
        known_positives=None if known is None else rows_of(known, rows),
        events=None if batch.events is None else batch.events[rows, positions][:, None],
    )
