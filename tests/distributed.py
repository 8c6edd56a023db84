"""Runs a test's function in several gloo processes on the CPU."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing

#: What a server imports once, from which the processes of all tests are forked: it takes longer than they do.
PRELOADED = ["lightning.pytorch", "lightning_croloss.public", "tests.data_for_tests"]


def run_distributed(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    """Call ``function(rank, world_size, *args)`` in ``world_size`` processes of one gloo group.

    Args:
        function: defined at the top of a module, so that it can be pickled.
        world_size: number of processes.
        *args: what else to pass; anything that can be pickled.

    Returns:
        What each process returned, by rank.

    Raises:
        torch.multiprocessing.ProcessRaisedException: if ``function`` failed, with its traceback.
    """
    multiprocessing.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(
            _process, (world_size, folder, function, args), nprocs=world_size, start_method="forkserver"
        )
        return [pickle.loads(_result_file(folder, rank).read_bytes()) for rank in range(world_size)]


def be_process(rank: int, world_size: int) -> None:
    """Let a ``Trainer`` take this process for one that a launcher has started, instead of starting others."""
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}


def _process(rank: int, world_size: int, folder: str, function: Callable[..., Any], args: Any) -> None:
    torch.set_num_threads(1)
    # a file instead of a port: nothing to collide with tests that run at the same time
    store = (Path(folder) / "rendezvous").as_uri()
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    try:
        result = function(rank, world_size, *args)
        _result_file(folder, rank).write_bytes(pickle.dumps(result))
    finally:
        torch.distributed.destroy_process_group()


def _result_file(folder: str, rank: int) -> Path:
    return Path(folder) / f"result-{rank}.pickle"
