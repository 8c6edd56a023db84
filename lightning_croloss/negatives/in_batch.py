"""InBatchNegatives: the targets of the other rows."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives.base import Candidates, Negatives


class InBatchNegatives(Negatives):
    """Compare each positive with the targets of the other rows of the batch.

    An item is drawn as often as it is a target, so that q is its share of the training targets (Yi et al.,
    RecSys 2019; Yang et al., WWW 2020). The row's own target is the positive and no draw: M = B − 1.
    Rows that share its target are draws that are ignored.

    Args:
        gather_across_devices: also take the targets of the other processes' batches. Their ids are gathered
            and encoded here with gradient, which after the averaging of DDP gives the gradient of one process
            with the whole batch.
        exclude_known_positives: also ignore the user's other training items.
    """

    def __init__(self, gather_across_devices: bool = False, exclude_known_positives: bool = False) -> None:
        super().__init__(exclude_known_positives)
        self.gather_across_devices = gather_across_devices
        # not in checkpoints: it follows from the data, and a checkpoint loads with any sampler
        self.register_buffer("_log_prob", torch.empty(0), persistent=False)

    _log_prob: Tensor

    def prepare(self, item_counts: Tensor, target_counts: Tensor) -> None:
        """Compute each item's share of the training targets."""
        shares = target_counts.double() / target_counts.sum()
        shares[0] = 0.0
        self._log_prob = shares.log().float().to(self._log_prob.device)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return log q of each id, −∞ for padding and for an item that is no training target.

        Raises:
            RuntimeError: the sampler has not seen the training data.
        """
        if self._log_prob.numel() != self.num_items + 1:
            raise RuntimeError(
                "InBatchNegatives must see the training data first: train with a RetrievalDataModule, or "
                "call prepare(item_counts, target_counts)"
            )
        return self._log_prob[ids]

    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Return the (M + 1,) targets of all rows; each row's own is among them, and is not counted."""
        ids = batch.targets[:, 0]
        if self.gather_across_devices and distributed.is_available() and distributed.is_initialized():
            ids = gather_ids(ids)
        num_draws = int((ids != 0).sum()) - 1 if self.gather_across_devices else ids.shape[0] - 1
        return Candidates(ids, self.log_prob(ids), self.excluded(batch), num_sampled=num_draws)


def gather_ids(ids: Tensor) -> Tensor:
    """Return the ids of all processes, padded with 0 where they have fewer rows than others.

    Args:
        ids: (b,) ids of this process.

    Returns:
        (processes · largest b,) ids, the same on every process.
    """
    processes = distributed.get_world_size()
    sizes = [torch.zeros(1, dtype=torch.long, device=ids.device) for _ in range(processes)]
    distributed.all_gather(sizes, torch.tensor([ids.shape[0]], device=ids.device))
    largest = int(torch.cat(sizes).max())
    padded = torch.nn.functional.pad(ids, (0, largest - ids.shape[0]))
    gathered = [torch.empty_like(padded) for _ in range(processes)]
    distributed.all_gather(gathered, padded.contiguous())
    return torch.cat(gathered)
