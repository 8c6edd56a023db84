"""``croloss recommend`` in several processes: each holds and searches a part of the items.

The first process reads, writes and speaks, as the command does in one. The others take part in its look-ups
and searches, batch after batch, until it has no more.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from lightning_croloss.cli.quiet import LOGGER, is_first_process
from lightning_croloss.cli.recommend.partitions import digest_of_weights
from lightning_croloss.cli.started_processes import StartedProcesses, ending_together
from lightning_croloss.cli.torchrun import started_by_torchrun
from lightning_croloss.retrieval.sharded import largest

if TYPE_CHECKING:
    from croloss_serving.recommend.results import Recommendations
    from lightning_croloss.models import RetrievalModel
    from lightning_croloss.recommend.token_recommender import TokenRecommender

#: How long the others wait for the first, which may itself wait for histories on the standard input.
LONGEST_WAIT = timedelta(days=7)
#: How long the others leave it to the first to tell what is wrong, which most often is so in all of them.
_SECONDS_TO_SPEAK = 2.0
#: What the first process announces.
_END, _BATCH, _WEIGHTS = range(3)


def asked_processes(given: argparse.Namespace) -> int:
    """Return how many processes share the items: those of ``--devices``, or of torchrun.

    Raises:
        ValueError: the number is below 1, or torchrun has started another number.
    """
    if given.devices is not None and given.devices < 1:
        raise ValueError(f"--devices must be at least 1, got {given.devices}")
    if (started := started_by_torchrun()) is None:
        return given.devices or 1
    world, local = started
    if given.devices not in (None, local):
        raise ValueError(
            f"--devices is {given.devices}, but torchrun has started {local} processes on this machine: "
            "leave --devices out"
        )
    return world


@contextmanager
def joined(processes: int) -> Iterator[None]:
    """Let the processes meet, starting them unless a launcher has; if the first fails, all of them end.

    Args:
        processes: how many there are in all.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    _, local = started_by_torchrun() or (processes, processes)
    strategy = DDPStrategy(timeout=LONGEST_WAIT)
    fabric = Fabric(accelerator="cpu", strategy=strategy, devices=local, num_nodes=processes // local)
    launcher = fabric.strategy.launcher
    with ending_together(launcher):
        with _without_greetings():
            fabric.launch()
        try:
            yield
        except Exception:
            if is_first_process():  # the others wait for it, and have nothing to say
                started = StartedProcesses(launcher)
                started.disown()
                started.kill()
            else:  # if the first has met the same, it says so and ends this one
                time.sleep(_SECONDS_TO_SPEAK)
            raise


@contextmanager
def _without_greetings() -> Iterator[None]:
    """Leave out who has met whom."""
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", LOGGER)]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Leading:
    """A recommender of the first process, in whose calls the others take part.

    Args:
        recommender: what all processes have made alike.
        model: the model, of which each process holds a part.
    """

    def __init__(self, recommender: TokenRecommender, model: RetrievalModel) -> None:
        self._recommender = recommender
        self._model = model

    def __call__(self, *arguments: Any, **named: Any) -> Recommendations:
        """Recommend as the recommender does, with all processes."""
        _announced(_BATCH)
        return self._recommender(*arguments, **named)

    def weights(self) -> str:
        """Return the checksum of the weights of all processes."""
        _announced(_WEIGHTS)
        return digest_of_weights(self._model)

    def end(self) -> None:
        """Let the others end."""
        _announced(_END)


def follow(recommender: TokenRecommender, model: RetrievalModel) -> None:
    """Take part in what the first process does, until it ends."""
    while (what := _announced(_END)) != _END:
        if what == _BATCH:
            recommender.take_part()
        else:
            digest_of_weights(model)


def _announced(what: int) -> int:
    """Return what the first process is about to do; the others announce nothing."""
    return largest(what, torch.device("cpu"))
