"""InBatchNegatives: the targets of the other rows."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, distributed

from lightning_croloss.common.gathering import gathered, row_counts
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives.base import Candidates
from lightning_croloss.negatives.counted import CountedNegatives


class InBatchNegatives(CountedNegatives):
    """Compare each positive with the targets of the other rows of the batch.

    An item is drawn as often as it is a target, so that q is its share of the training targets (Yi et al.,
    RecSys 2019; Yang et al., WWW 2020). The row's own target is the positive, not a draw: M = B − 1.
    Rows that share its target are draws, but ignored. An item that is not a training target is never
    drawn, and no correction can make up for that: ``MixedNegatives`` with some ``UniformNegatives`` can. A
    target of the batch that is none by the counts, of a loader of your own, is no negative.

    Args:
        gather_across_devices: also take the targets of the other processes' batches. Their ids are gathered
            and encoded here with gradient: after DDP's averaging that is the gradient of one process with the
            whole batch, if all batches have the same size, as the data modules' have.
        exclude_known_positives: also ignore the user's other training items.
    """

    def __init__(self, gather_across_devices: bool = False, exclude_known_positives: bool = False) -> None:
        super().__init__(exclude_known_positives)
        self.gather_across_devices = gather_across_devices
        self._warned = False

    def probabilities(self, item_counts: Tensor, target_counts: Tensor) -> Tensor:
        """Return each item's share of the training targets.

        Raises:
            ValueError: there are no training targets.
        """
        targets = target_counts[1:].double()
        if not targets.any():
            raise ValueError("target_counts must hold at least one training target")
        return targets / targets.sum()

    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Return the (M + 1,) targets of all rows; each row's own is among them, and is not counted."""
        ids = batch.first_targets
        rows = ids.shape[0]
        if self.gather_across_devices and distributed.is_available() and distributed.is_initialized():
            ids, rows = gather_ids(ids)
        log_prob = self.log_prob(ids)
        uncounted = (log_prob == -torch.inf) & (ids != 0)
        if ids.is_cpu and not self._warned and uncounted.any():  # of a device nothing is asked
            self._warned = True
            rank_zero_warn(
                f"item {int(ids[uncounted][0])} is a target of a batch, but none of the targets of training "
                "that InBatchNegatives has counted: such items are no negatives; call prepare with the "
                "counts of what you train on"
            )
        return Candidates(ids.masked_fill(uncounted, 0), log_prob, self.excluded(batch), num_sampled=rows - 1)


def gather_ids(ids: Tensor) -> tuple[Tensor, int]:
    """Gather the ids of all processes, padded with 0 where one has fewer rows than others.

    Args:
        ids: (b,) ids of this process.

    Returns:
        (processes · largest b,) ids, the same on every process, and the number of rows of all processes.
    """
    counts = row_counts(ids.shape[0], ids.device)
    return gathered(ids, max(counts)), sum(counts)
