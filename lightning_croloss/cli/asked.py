"""Asked: whether any process was told to end, asked now and then, by all of them at the same batch."""

from __future__ import annotations

import time

import torch
from lightning.pytorch import Trainer

#: Seconds between two questions, well below the patience of a signal; and the most batches between them.
PERIOD = 0.5
MOST_BATCHES = 1000


class Asked:
    """Asks the other processes about twice a second, where each question would hold up the accelerators.

    How many batches that are follows from how long the last ones took in all processes, which they tell each
    other with the answer: so all count to the same batch. As long as nothing is known, they ask at each.
    """

    def __init__(self) -> None:
        self._batches, self._due, self._since = 0, 1, time.monotonic()

    def any(self, trainer: Trainer, here: bool) -> bool:
        """Count a batch; return whether a process was told to end, False if it is not asked yet.

        Args:
            trainer: of several processes, all of which call this after each batch.
            here: whether this process was told.
        """
        self._batches += 1
        if self._batches < self._due:
            return False
        now = time.monotonic()
        # whole numbers: their sum is the same in whatever order the processes are added up
        own = [int(here), int((now - self._since) * 1e6)]
        said = trainer.strategy.reduce(
            torch.tensor(own, device=trainer.strategy.root_device), reduce_op="sum"
        )
        assert isinstance(said, torch.Tensor)
        told, microseconds = said.tolist()
        of_a_batch = max(1, microseconds // trainer.world_size // self._batches)
        self._due = max(1, min(MOST_BATCHES, int(PERIOD * 1e6) // of_a_batch))
        self._batches, self._since = 0, now
        return bool(told)
