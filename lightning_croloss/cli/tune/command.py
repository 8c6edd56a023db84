"""``croloss tune``: one command that hands back a config for the N that will be deployed, and its model."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from lightning_croloss.cli.interruption import interruption_behind
from lightning_croloss.cli.seeds import seeds_of
from lightning_croloss.cli.tune.base import Base, read_base
from lightning_croloss.cli.tune.folder import check_output
from lightning_croloss.cli.tune.options import default_output
from lightning_croloss.cli.tune.search import Request, run_search
from lightning_croloss.common.locks import claimed
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.search import Choice


def tune(given: argparse.Namespace, words: Sequence[str], command: Sequence[str]) -> Choice | None:
    """Run the command.

    Args:
        given: its own options.
        words: the words of a fit.
        command: the whole command line, to name it where it goes on.

    Raises:
        ValueError: an option or a field is wrong.
    """
    if given.interactions is not None:
        from lightning_croloss.cli.tune.table.command import tune_table

        tune_table(given, words, command)
        return None
    base = read_base(words)
    return tune_base(base, given, command, given.output or default_output(given.config[0], given.n))


def tune_base(base: Base, given: argparse.Namespace, command: Sequence[str], folder: Path) -> Choice:
    """Search from a config on, in a folder that no other job uses meanwhile.

    Args:
        base: the config of a fit, as plain values.
        given: the command's own options.
        command: the whole command line.
        folder: where everything is kept.
    """
    seeds: tuple[int, ...] = ()
    if given.seeds is not None:
        if not base.tests:
            raise ValueError("--seeds compares what the tests measure: leave test_after_fit=false out")
        seeds = tuple(seed for seed in seeds_of(given.seeds, base.seed) if seed != base.seed)
    line = shlex.join(["croloss", "tune", *command])
    request = Request(
        objectives=_objectives(given),
        fits=given.fits,
        minutes=given.minutes,
        trials=given.trials,
        sampler=given.sampler,
        processes=given.processes,
        seeds=seeds,
        storage=given.storage,
        folder=folder,
        overwrite=given.overwrite,
        command=line,
        began=given.began,
    )
    check_output(folder, {**base.config, "config": given.config})
    try:
        with claimed(folder):
            return run_search(base, request)
    except BaseException as error:
        ended = interruption_behind(error)
        if ended is None:
            raise
        ended.advice = ended.advice or f"go on with: {line}"
        raise ended from None


def _objectives(given: argparse.Namespace) -> tuple[Objective, ...]:
    if given.weights is not None:
        return (Objective(given.objective, dict(zip(given.n, given.weights, strict=True))),)
    return tuple(Objective(given.objective, {n: 1.0}) for n in given.n)


__all__ = ["tune", "tune_base"]
