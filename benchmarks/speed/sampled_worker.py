"""A process that trains with sampled negatives, by whichever lightning_croloss it finds first.

python benchmarks/speed/sampled_worker.py TABLE NEGATIVES

Whenever it is told a number of steps, on a line of its input, it takes so many of a fit of YouTubeDNN (D =
64, histories of 20, batches of 1,024, one thread) and answers with the processor's seconds of a step. It
knows nothing but the public names of the package, so that older versions of it can be asked too.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch

from lightning_croloss import CROLoss, PowerImportance, TableDataModule, UniformNegatives, YouTubeDNN

#: Steps that are not counted: what is made once is made in them.
FIRST = 5


class Clock(pl.Callback):
    """Times the steps after the first ones.

    Attributes:
        seconds: of the processor, in all.
    """

    seconds = 0.0
    _begun = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin."""
        if batch_idx == FIRST:
            self._begun = time.process_time()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End."""
        self.seconds = time.process_time() - self._begun


def main() -> None:
    """Answer until there is no more input."""
    table, negatives = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = TableDataModule(table, batch_size=1024, max_history=20)
    model = YouTubeDNN(
        num_items=data.num_items,
        embedding_dim=64,
        hidden_dims=(128,),
        negatives=UniformNegatives(negatives),
        loss=CROLoss(kernel="exp", importance=PowerImportance(1.2), temperature=0.14),
        optimizer=partial(torch.optim.AdamW, lr=0.003),
        ns=(20,),
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    for line in sys.stdin:
        clock, steps = Clock(), int(line)
        trainer = pl.Trainer(
            max_epochs=1,
            limit_train_batches=FIRST + steps,
            limit_val_batches=0,
            accelerator="cpu",
            enable_model_summary=False,
            callbacks=[clock],
            **quiet,
        )
        trainer.fit(model, data)
        print(f"seconds {clock.seconds / steps}", flush=True)


if __name__ == "__main__":
    main()
