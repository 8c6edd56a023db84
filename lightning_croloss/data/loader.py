"""BatchLoader: batches in an order that depends on seed and epoch alone, and that can resume anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch


class Rows(Protocol):
    """What a loader needs of a dataset."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitems__(self, indices: Tensor) -> RetrievalBatch:
        """Return rows as one batch."""


class BatchLoader:
    """Iterable over :class:`RetrievalBatch` with a position that a checkpoint can hold.

    Several processes share the rows. In training (``shuffle=True``) the rows left over when dividing by
    ``world_size`` are dropped, other ones in each epoch, so that all processes make the same steps on batches
    of the same sizes: repeating rows instead would count them twice. In evaluation (``shuffle=False``)
    nothing is dropped or repeated: each row is seen exactly once over all processes.

    Args:
        dataset: the rows.
        batch_size: rows of a batch in this process.
        shuffle: whether to permute the rows again in each epoch.
        seed: seed of the permutations.
        rank: number of this process.
        world_size: number of processes.
        drop_last: whether to leave out a last batch that is smaller than the others.

    Raises:
        ValueError: if batch_size or world_size is below 1, or rank is not in 0 … world_size - 1.
    """

    def __init__(
        self,
        dataset: Rows,
        batch_size: int,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"rank={rank} must be at least 0 and below world_size={world_size}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self._epoch = 0
        self._batches = 0  # handed out in this epoch
        self._next: tuple[int, int] | None = None  # epoch and batch at which the next iteration must begin
        self._knows_epoch = False  # by a loaded state, or because batches were handed out
        self._trainer_epoch: int | None = None

    @property
    def num_rows(self) -> int:
        """Number of rows that this process sees in an epoch."""
        if self.shuffle:
            return len(self.dataset) // self.world_size
        return len(range(self.rank, len(self.dataset), self.world_size))

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, whatever the position."""
        whole, rest = divmod(self.num_rows, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[RetrievalBatch]:
        """Yield the rest of the epoch that was loaded, else a whole one."""
        # Lightning calls iter() several times without reading, also before it loads the state and tells the
        # epoch. Being a generator, this decides where to begin only when the first batch is asked for.
        self._epoch, begin = self._beginning()
        self._batches, self._next = begin, None
        self._knows_epoch = True
        rows = self._order(self._epoch)
        for number in range(begin, len(self)):
            # counted before it is handed out: a checkpoint is taken while the consumer holds the batch
            self._batches = number + 1
            yield self.dataset.__getitems__(rows[number * self.batch_size : (number + 1) * self.batch_size])

    def _beginning(self) -> tuple[int, int]:
        if self._next is None:
            return (self._epoch + 1, 0) if self._batches else (self._epoch, 0)
        epoch, batches = self._next
        return (epoch + 1, 0) if batches >= len(self) > 0 else (epoch, batches)

    def _order(self, epoch: int) -> Tensor:
        """Return the rows (num_rows,) of this process in the order of ``epoch``."""
        if not self.shuffle:
            return torch.arange(self.rank, len(self.dataset), self.world_size)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        permutation = torch.randperm(len(self.dataset), generator=generator)
        return permutation[: self.num_rows * self.world_size][self.rank :: self.world_size]

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Where Lightning looks for ``sampler.set_epoch``, which it calls at the start of each epoch."""
        # not `sampler`: with overfit_batches Lightning would try to rebuild this loader as a torch DataLoader
        return SimpleNamespace(sampler=self)

    def set_epoch(self, epoch: int) -> None:
        """Take note that the trainer begins its epoch ``epoch``; only a new loader takes over the number.

        Lightning 2.6 is right about *when* an epoch begins, but not always about its number: resumed at the
        end of an epoch in a run bounded by ``max_steps``, it counts one too many. So a loader that knows its
        own epoch goes on counting. A new one that got no state (Lightning restores none after a checkpoint at
        an epoch's end, unless ``max_steps`` bounds the run) can only learn it here.
        """
        if not self._knows_epoch:
            self._next = (epoch, 0)
        elif self._next is None:
            if epoch <= self._epoch:  # another run begins with the same loader
                self._next = (epoch, 0)
        elif self._next[1] > 0 and epoch != self._trainer_epoch:  # the loaded epoch was over
            self._next = (self._next[0] + 1, 0)
        self._trainer_epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return seed, epoch, number of batches already handed out in it, and the trainer's epoch if told."""
        epoch, batches = self._next or (self._epoch, self._batches)
        state = {"seed": self.seed, "epoch": epoch, "batches": batches}
        return state if self._trainer_epoch is None else {**state, "trainer_epoch": self._trainer_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration continue at the saved position.

        Raises:
            ValueError: if the epoch of this loader is shorter than the saved position.
        """
        if state["batches"] > len(self):
            raise ValueError(
                f"the checkpoint was taken after batch {state['batches']} of an epoch, but this one has "
                f"{len(self)} batches: resume with the same data, batch_size and number of processes"
            )
        self.seed = state["seed"]
        self._next = (state["epoch"], state["batches"])
        self._trainer_epoch = state.get("trainer_epoch", state["epoch"])
        self._knows_epoch = True
