"""From a table to the first batch, in W gloo processes under Lightning's ``ddp``: memory and time of each."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from lightning.pytorch import Callback

from benchmarks.common.training import quiet_trainer
from lightning_croloss import LeaveOneOut, PopularityNegatives, TableDataModule, YouTubeDNN

DIM, BATCH, NEGATIVES = 8, 256, 512


class FirstBatch(Callback):
    """Notes time and memory when the first batch is there."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        """Note them."""
        self.found = self.found or {"end": time.perf_counter(), "computed": time.process_time(), **memory()}


def run(interactions: str, partitioned: bool, processes: int) -> list[dict[str, Any]]:
    """Return what each process measured.

    Args:
        interactions: the table.
        partitioned: whether it is a folder of partitions.
        processes: their number W.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = (processes, folder, interactions, partitioned)
        torch.multiprocessing.start_processes(_process, arguments, nprocs=processes, start_method="spawn")
        return [torch.load(Path(folder, f"{rank}.pt"), weights_only=True) for rank in range(processes)]


def _process(rank: int, world_size: int, folder: str, interactions: str, partitioned: bool) -> None:
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
    os.environ["POLARS_MAX_THREADS"] = "1"
    warnings.simplefilter("ignore")
    store = Path(folder, "rendezvous").as_uri()
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    torch.save(measure(interactions, partitioned, world_size), Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


def measure(interactions: str, partitioned: bool, processes: int) -> dict[str, Any]:
    """Read the table in one process of several, as far as its first batch."""
    import polars  # noqa: F401

    imports, began, computed = memory()["held_mib"], time.perf_counter(), time.process_time()
    options: dict[str, Any] = {"partitioned_by_user": partitioned, "batch_size": BATCH, "max_history": 20}
    data = TableDataModule(interactions, split=LeaveOneOut(), **options)
    model = YouTubeDNN(
        data.num_items, embedding_dim=DIM, hidden_dims=(), negatives=PopularityNegatives(NEGATIVES), ns=(20,)
    )
    first = FirstBatch()
    trainer = quiet_trainer(
        1,
        [first],
        max_steps=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        devices=processes,
        strategy="ddp",
    )
    trainer.fit(model, data)
    found = first.found
    return {
        "events": len(data.interactions),
        "rows": len(data.train_rows),
        "imports_mib": imports,
        "peak_mib": found["peak_mib"],
        "held_mib": found["held_mib"],
        "seconds": found["end"] - began,
        "computed_seconds": found["computed"] - computed,
    }


def memory() -> dict[str, float]:
    """Return the memory that this process holds, and held at most."""
    fields = {"peak_mib": "VmHWM:", "held_mib": "VmRSS:"}
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        name: next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
        for name, field in fields.items()
    }
