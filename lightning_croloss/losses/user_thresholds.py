"""UserThresholds: the top-k threshold of each user, kept for some epochs."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from lightning_croloss.common.equal_ids import EqualIds
from lightning_croloss.common.gathering import gathered, row_counts
from lightning_croloss.losses.kernels import FAR_BELOW

#: Ids from here on are hashes: 3 GB would be kept of so many users.
MOST_USERS = 2**28


class UserThresholds:
    """A threshold for each user id, and the epoch in which it was estimated; grows with the ids."""

    def __init__(self) -> None:
        self._values = torch.zeros(0, device="cpu")
        self._epochs = torch.zeros(0, dtype=torch.long, device="cpu")

    @torch.no_grad()
    def kept(
        self,
        user_ids: Tensor,
        estimates: Tensor,
        epoch: int,
        every: int,
        num_users: int | None = None,
        whole: bool = False,
    ) -> Tensor:
        """Return the threshold of each row, after those that are due have been estimated anew.

        Args:
            user_ids: (B,) int64 ids from 0 on.
            estimates: (B,) of the rows; of a user with several the mean is kept. Those that are
                ``FAR_BELOW`` are none.
            epoch: number of the epoch.
            every: for how many epochs a threshold is kept.
            num_users: the largest id that there is. None = the largest of the batch is read, which waits for
                a device.
            whole: whether these are the rows of all processes of ``torch.distributed`` already; otherwise
                they are gathered, so that a user has one threshold, whatever process has their rows.

        Returns:
            (B,) in the type of the estimates.

        Raises:
            ValueError: an id is so large that it cannot be a number of a user.
        """
        own_ids, own_estimates = user_ids, estimates
        if not whole:
            user_ids, estimates = _of_all_processes(user_ids, estimates)
        is_read = num_users is None or user_ids.device.type == "cpu"
        largest = int(user_ids.max()) if is_read else num_users or 0
        if largest >= MOST_USERS:
            raise ValueError(
                f"user_ids holds {largest:,}, and a threshold is kept for each id up to the largest, at most "
                f"{MOST_USERS - 1:,}: number the users from 0 on, where the ids are hashes"
            )
        self._hold(largest + 1, estimates)
        last = self._epochs[user_ids]
        # what was kept in a later epoch is of another training
        due = ((last < 0) | (last > epoch) | (epoch - last >= every)) & (estimates > 0.5 * FAR_BELOW)
        equal = EqualIds.of(user_ids)
        terms = torch.stack([estimates.masked_fill(~due, 0.0), due.to(estimates.dtype)], dim=1)
        total, number = equal.sums(terms).unbind(1)
        # every row of a user writes the same, which is what was there if none is due
        users, anew = equal.ids, number > 0.0
        self._values[users] = torch.where(anew, total / number.clamp(min=1.0), self._values[users])
        self._epochs[users] = self._epochs[users].masked_fill(anew, epoch)
        return torch.where(self._epochs[own_ids] < 0, own_estimates, self._values[own_ids])

    @torch.no_grad()
    def read(self, user_ids: Tensor, estimates: Tensor, epoch: int) -> Tensor:
        """Return the threshold of each row as it is kept, or its own estimate, and change nothing.

        Args:
            user_ids: (B,) int64 ids from 0 on.
            estimates: (B,) of the rows.
            epoch: number of the epoch.

        Returns:
            (B,) in the type of the estimates.
        """
        if not len(self._values):
            return estimates
        places = user_ids.to(self._epochs.device).clamp(max=len(self._values) - 1)
        last = self._epochs[places].to(estimates.device)
        there = (last >= 0) & (last <= epoch) & (user_ids < len(self._values))
        return torch.where(there, self._values[places].to(estimates), estimates)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what is kept."""
        return {"values": self._values.clone(), "epochs": self._epochs.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` returned.

        Raises:
            ValueError: it is something else.
        """
        values, epochs = (state.get(name) for name in ("values", "epochs"))
        if (
            not isinstance(values, Tensor)
            or not isinstance(epochs, Tensor)
            or values.dim() != 1
            or values.shape != epochs.shape
            or not values.is_floating_point()
            or epochs.dtype != torch.long
        ):
            raise ValueError("the checkpoint is damaged: the thresholds of its loss are none")
        self._values, self._epochs = values.clone(), epochs.clone()

    def _hold(self, size: int, like: Tensor) -> None:
        """Make room for so many users, on the device of the estimates and in their type."""
        self._values, self._epochs = self._values.to(like), self._epochs.to(like.device)
        if self._values.is_inference() and not torch.is_inference_mode_enabled():
            # loaded in inference mode, and training must not change such
            self._values, self._epochs = self._values.clone(), self._epochs.clone()
        if (more := size - len(self._values)) > 0:
            self._values = torch.cat([self._values, self._values.new_zeros(more)])
            self._epochs = torch.cat([self._epochs, self._epochs.new_full((more,), -1)])


def _of_all_processes(user_ids: Tensor, estimates: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of all processes; what fills up those of fewer is an estimate that is none."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return user_ids, estimates
    counts = row_counts(len(user_ids), user_ids.device)
    rows = max(counts)
    there = torch.arange(rows, device=user_ids.device) < torch.tensor(counts, device=user_ids.device)[:, None]
    return gathered(user_ids, rows), gathered(estimates, rows).masked_fill(~there.flatten(), FAR_BELOW)
