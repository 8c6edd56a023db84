"""Training rows with several targets, at each position of the history or at its end, taken apart."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lightning_croloss.common.item_lists import rows_of
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.target_counts import places_of


def targets_of_windows(
    batch: RetrievalBatch, who: str, longest: int | None = None, single: bool = False
) -> Tensor:
    """Return the targets of a batch of windows: (B, L), or (B, L, T) with up to T at each position.

    Args:
        batch: the batch.
        who: what needs them, for the message.
        longest: the most events of a history that it reads; None = all.
        single: whether it takes a single target at each position.

    Raises:
        ValueError: the batch has no target for each position of the history, several where there may be
            one, or more events than can be read.
    """
    targets = batch.padded_targets
    if longest is not None and targets.shape[1] > longest:
        raise ValueError(
            f"{who} reads the last max_length={longest} events, and cannot be trained on windows of "
            f"{targets.shape[1]}: raise max_length, or cut the windows"
        )
    if single and targets.ndim == 3:
        raise ValueError(
            f"{who} takes one target at each position, (B, L), got {tuple(targets.shape)}: set "
            "target_window to 1"
        )
    if targets.shape[:2] != batch.history.shape or targets.ndim > 3:
        raise ValueError(
            f"{who} needs targets of the shape {tuple(batch.history.shape)} of the history, got "
            f"{tuple(targets.shape)}: call "
            "prepare_for(DataRequest(all_positions=True)) on the data module"
        )
    return targets


def one_by_one(batch: RetrievalBatch, targets: Tensor, rows: Tensor, positions: Tensor) -> RetrievalBatch:
    """Return a batch of P rows with the targets of a position each, and in the history the event before.

    Args:
        batch: a batch of windows.
        targets: (B, L) its targets, or (B, L, T).
        rows: (P,) rows of the targets that are wanted.
        positions: (P,) their positions.

    Returns:
        The batch, with targets (P, 1) or (P, T).
    """
    weight, known = batch.sample_weight, batch.known_positives
    flat, counts = targets[rows, positions].reshape(len(rows), -1), batch.target_counts
    if weight is not None:
        weight = weight[rows, positions]
        weight = weight.flatten() if flat.shape[1] == 1 else weight
    if counts is not None:
        counts = replace(counts, targets=flat) if counts.positions == len(rows) else None
    return RetrievalBatch(
        history=batch.history[rows, positions].unsqueeze(1),
        targets=flat,
        users=batch.users[rows],
        sample_weight=weight,
        known_positives=None if known is None else rows_of(known, rows),
        events=None if batch.events is None else batch.events[rows, positions][:, None],
        counted=counts,
    )


def one_target_a_row(users: Tensor, batch: RetrievalBatch) -> tuple[Tensor, RetrievalBatch]:
    """Return users and batch with as many rows as there are targets, each row of several as often as these.

    Args:
        users: (B, K, D) vectors of the users.
        batch: their batch, with targets (B, T), 0 = none, and weights (B,), or (B, T) if T is above 1.

    Returns:
        (P, K, D), and a batch with targets (P, 1) and weights (P,).
    """
    targets = batch.padded_targets
    if targets.shape[1] == 1:
        return users, batch
    counts = batch.target_counts
    rows, numbers = places_of(targets != 0, None if counts is None else counts.total)
    weight, known = batch.sample_weight, batch.known_positives
    apart = replace(
        replace(batch, known_positives=None).select(rows),
        targets=targets[rows, numbers].unsqueeze(1),
        sample_weight=None if weight is None else weight[rows, numbers],
        known_positives=None if known is None else rows_of(known, rows),
    )
    return users[rows], apart
