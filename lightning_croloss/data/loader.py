"""BatchLoader: batches in an order that depends on seed and epoch alone, and that can resume anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.grouping import grouped_by_width


class Rows(Protocol):
    """What a loader needs of a dataset."""

    @property
    def widths(self) -> Tensor:
        """(rows,) the width of each row's history; asked for only where rows are grouped by it."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitems__(self, indices: Tensor) -> RetrievalBatch:
        """Return rows as one batch."""


class BatchLoader:
    """Iterable over :class:`RetrievalBatch` with a position that a checkpoint can hold.

    Several processes share the rows. In training (``shuffle=True``) the rows left over when dividing by
    ``world_size`` are dropped, other ones in each epoch, so that all processes make the same steps on batches
    of the same sizes: repeating rows instead would count them twice. In evaluation (``shuffle=False``)
    nothing is dropped or repeated: each row is seen exactly once over all processes. These have the same
    number of batches, so that they can compute each one together: one that has a row less than others has
    smaller batches (and batches of 1 are of 2 where not all processes have as many rows).

    The position counts rows, over all processes together: they have always seen the first rows of the epoch's
    order and no others. So an epoch can be taken up with another batch size or number of processes, and each
    of its rows is still seen once (but for fewer than ``world_size`` at its end).

    Args:
        dataset: the rows.
        batch_size: rows of a batch in this process.
        shuffle: whether to permute the rows again in each epoch.
        seed: seed of the permutations.
        rank: number of this process.
        world_size: number of processes.
        drop_last: whether to leave out a last batch that is smaller than the others.
        recounted: whether the training loop asks for :meth:`batches_left` when it takes up an epoch. Without,
            an epoch is taken up only with the batches that it began with, since the loop goes on counting.
        group_by_length: whether a step has rows of similar width, in all processes; only if they are
            shuffled. An epoch that was begun with groups, or without, goes on so.
        on_epoch: called with seed and epoch before the first rows of an epoch are handed out, and before the
            first ones of its rest.
        pinned: whether batches lie in memory from which an accelerator copies by itself.

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
        recounted: bool = False,
        group_by_length: bool = False,
        on_epoch: Callable[[int, int], None] | None = None,
        pinned: bool = False,
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
        self.recounted = recounted
        self.group_by_length = group_by_length
        self.on_epoch = on_epoch
        self.pinned = pinned
        self._epoch = 0
        self._rows = 0  # handed out in this epoch, by all processes together
        self._rows_before = 0  # the same without the latest batch
        self._next: tuple[int, int] | None = None  # epoch and row at which the next iteration must begin
        self._loaded_group: int | None = None  # rows of a group of the loaded epoch, 0 = none
        self._group = 0  # the same of this epoch
        self._knows_epoch = False  # by a loaded state, or because batches were handed out
        self._trainer_epoch: int | None = None

    @property
    def num_rows(self) -> int:
        """Number of rows that this process sees in an epoch."""
        return self._share(self.rows_of_the_epoch)

    @property
    def rows_of_a_step(self) -> int:
        """Number of rows of a batch of every process together."""
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, whatever the position."""
        return self._batches(self.rows_of_the_epoch)

    @property
    def processes(self) -> int | None:
        """Number of processes, if each has rows of its own; None if all share the same."""
        return None

    @property
    def rows_of_the_epoch(self) -> int:
        """Number of rows of an epoch that all processes together see."""
        return len(self.dataset)

    def batches_left(self, limit: int | None = None) -> int:
        """Return the number of batches of the loaded epoch that are still to come.

        Args:
            limit: number of batches that the trainer takes of an epoch; None = all.
        """
        _, rows = self._next or (self._epoch, self._rows)
        left = self._batches(self.rows_of_the_epoch - rows)
        if limit is not None and limit < len(self):
            left = min(left, max(0, -(-(limit * self.rows_of_a_step - rows) // self.rows_of_a_step)))
        return left

    def __iter__(self) -> Iterator[RetrievalBatch]:
        """Yield the rest of the epoch that was loaded, else a whole one."""
        # Lightning calls iter() several times without reading, also before it loads the state and tells the
        # epoch. Being a generator, this decides where to begin only when the first batch is asked for.
        self._epoch, begin = self._beginning()
        self._group = self._rows_of_a_group(begin)
        self._rows, self._rows_before, self._next, self._loaded_group = begin, begin, None, None
        self._knows_epoch = True
        if self.on_epoch is not None:
            self.on_epoch(self.seed, self._epoch)
        pieces = self._pieces(begin)
        for number, piece in enumerate(pieces, start=1):
            # counted before it is handed out: a checkpoint is taken while the consumer holds the batch
            self._rows_before = self._rows
            last = number == len(pieces)
            self._rows = self.rows_of_the_epoch if last else begin + number * self.rows_of_a_step
            batch = self.dataset.__getitems__(piece)
            yield batch.pin_memory() if self.pinned else batch

    def _pieces(self, begin: int) -> Sequence[Tensor]:
        """Return the rows of each batch of this process, from a row of all processes on."""
        rows = self._order(self._epoch)[begin:]
        mine = rows[self.rank :: self.world_size][: self._share(len(rows))]
        return self._divided(mine, len(rows))

    def _divided(self, mine: Tensor, rows: int) -> Sequence[Tensor]:
        """Divide the rows of this process, of ``rows`` of all, into as many batches as every process has."""
        most, size = self._most(rows), self._rows_of_a_batch(rows)
        batches = self._batches(rows) if len(mine) else 0
        starts = [min(number * size, len(mine)) for number in range(batches + 1)]
        if len(mine) < most:  # a row at least is left to every batch
            starts = [number * len(mine) // batches for number in range(batches + 1)]
        return [mine[first:stop] for first, stop in pairwise(starts)]

    def _beginning(self) -> tuple[int, int]:
        if self._next is None:
            return (self._epoch + 1, 0) if self._rows else (self._epoch, 0)
        epoch, rows = self._next
        return (epoch, rows) if rows == 0 or self.batches_left() else (epoch + 1, 0)

    def _share(self, rows: int) -> int:
        """Return how many of ``rows`` rows this process sees."""
        return rows // self.world_size if self.shuffle else len(range(self.rank, rows, self.world_size))

    def _most(self, rows: int) -> int:
        """Return the most of ``rows`` rows that a process sees."""
        return rows // self.world_size if self.shuffle else -(-rows // self.world_size)

    def _rows_of_a_batch(self, rows: int) -> int:
        uneven = not self.shuffle and rows % self.world_size
        return max(2, self.batch_size) if uneven else self.batch_size

    def _batches(self, rows: int) -> int:
        """Return the number of batches of each process, where all of them have ``rows`` rows."""
        whole, rest = divmod(self._most(rows), self._rows_of_a_batch(rows))
        return whole + (rest > 0 and not self.drop_last)

    def _order(self, epoch: int) -> Tensor:
        """Return the rows (len(dataset),) of all processes in the order of ``epoch``."""
        if not self.shuffle:
            return torch.arange(len(self.dataset))
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(self.dataset), generator=generator)
        return grouped_by_width(order, self.dataset.widths, self._group, generator) if self._group else order

    def _rows_of_a_group(self, begin: int) -> int:
        """Return how many rows of similar width come together in an epoch taken up at a row; 0 = none.

        The order depends on it, so that an epoch must go on with what it began with.
        """
        if begin and self._loaded_group is not None:
            return self._loaded_group
        return self.rows_of_a_step if self.group_by_length and self.shuffle else 0

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
        """Return seed, epoch, rows already handed out in it, and the trainer's epoch if told.

        Beside them: the rows before the latest batch, of a batch and of the epoch, and of a group if rows are
        grouped by length.
        """
        epoch, rows = self._next or (self._epoch, self._rows)
        state = {
            **({} if self.processes is None else {"processes": self.processes}),
            "seed": self.seed,
            "epoch": epoch,
            "rows": rows,
            "rows_before": rows if self._next else self._rows_before,
            "rows_of_a_step": self.rows_of_a_step,
            "rows_of_the_epoch": self.rows_of_the_epoch,
        }
        group = self._rows_of_a_group(rows) if self._next else self._group
        if group:
            state["rows_of_a_group"] = group
        return state if self._trainer_epoch is None else {**state, "trainer_epoch": self._trainer_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration continue at the saved position.

        Raises:
            ValueError: if the position is in the middle of an epoch of other rows than this loader's, or the
                batches are others and the training loop does not count them anew.
        """
        self._next = (state["epoch"], self._rows_of(state))
        self._loaded_group = state.get("rows_of_a_group", 0)
        self.seed = state["seed"]
        self._trainer_epoch = state.get("trainer_epoch", state["epoch"])
        self._knows_epoch = True

    def _rows_of(self, state: dict[str, Any]) -> int:
        if "rows" not in state:  # of the first format, which counted batches
            if state["batches"] > len(self):
                raise ValueError(
                    f"the checkpoint was taken after batch {state['batches']} of an epoch, but this one has "
                    f"{len(self)} batches: resume with the same data, batch_size and number of processes"
                )
            return int(min(state["batches"] * self.rows_of_a_step, self.rows_of_the_epoch))
        rows, of_all, of_a_step = (state[name] for name in ("rows", "rows_of_the_epoch", "rows_of_a_step"))
        if not 0 < rows < of_all:
            return self.rows_of_the_epoch if rows else 0
        before, now = state.get("processes"), self.processes
        if before != now:
            named = {of: f"{of} processes with partitions of their own" for of in (before, now)}
            named[None] = "rows that all processes share"
            raise ValueError(
                f"the checkpoint was taken in the middle of an epoch of {named[before]}, now it would be one "
                f"of {named[now]}: resume with as many processes and the same data as before, or from a "
                "checkpoint at an epoch's end"
            )
        if of_all != self.rows_of_the_epoch:
            raise ValueError(
                f"the checkpoint was taken after {rows} rows of an epoch of {of_all}, but this data has "
                f"{self.rows_of_the_epoch} training rows: resume with the same data, or from a checkpoint at "
                "an epoch's end"
            )
        if of_a_step != self.rows_of_a_step and not self.recounted:
            raise ValueError(
                f"the checkpoint was taken in the middle of an epoch of {of_a_step} rows a step (over all "
                f"processes), now it would be {self.rows_of_a_step}: resume with the same batch_size and "
                "number of processes, or train a RetrievalModel, which counts the batches anew"
            )
        return int(rows)
