"""The options of ``croloss tune --interactions``: those of the table's data module, and of the trainer."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence

from lightning_croloss.cli.plain_parser import nearest, usage_error
from lightning_croloss.cli.tune.base import Base, read_base
from lightning_croloss.data import TableDataModule

#: Options of a search from a config, which mean nothing here, and why.
OF_CONFIGS = {
    "fits": "with --interactions the time is the measure: give --minutes",
    "trials": "with --interactions the time says how many settings are tried: give --minutes",
}
#: Fields of the trainer that are chosen.
CHOSEN = (
    "max_epochs",
    "max_steps",
    "min_epochs",
    "min_steps",
    "callbacks",
    "check_val_every_n_epoch",
    "val_check_interval",
    "limit_train_batches",
)


def refuse_options(given: argparse.Namespace) -> None:
    """Refuse options that mean nothing without a config.

    Raises:
        SystemExit: naming the option.
    """
    for name, reason in OF_CONFIGS.items():
        if getattr(given, name) is not None:
            usage_error(f"--{name} needs --config: {reason}")
    if given.sampler != "random":
        usage_error(
            "--sampler needs --config: it draws settings from a space by what others reach in as many steps; "
            "with --interactions whole models are tried, each for as long as it is worth it"
        )
    if len(given.n) > 1 and given.weights is None:
        usage_error(
            "--interactions looks for one N, or for a mean over several: give --weights, one for each N"
        )


def table_base(interactions: str, words: Sequence[str]) -> Base:
    """Return what the user has set, as the config of a fit.

    Raises:
        ValueError: a field is chosen here, or cannot be had.
        SystemExit: there is no such option.
    """
    known = set(inspect.signature(TableDataModule).parameters)
    found = ["--data=TableDataModule", f"--data.init_args.interactions={interactions}"]
    for word in words:
        name, mark, value = word.partition("=")
        field = name.removeprefix("--").replace("-", "_")
        if not word.startswith("-"):
            found.append(word)  # the value of the option before
        elif field in known:
            found.append(f"--data.init_args.{field}{mark}{value}")
        elif field.startswith(("data.", "trainer.")) or field == "seed_everything":
            found.append(word)
        else:
            advice = nearest(field, known) or "; croloss tune --help lists the options"
            usage_error(f"unrecognized arguments: {name}{advice}")
    for field in CHOSEN:
        if any(word.startswith(f"--trainer.{field}") for word in found):
            raise ValueError(
                f"trainer.{field} is chosen with --interactions: leave it out, or start from a config"
            )
    return read_base([*found, "--model=YouTubeDNN"])


__all__ = ["refuse_options", "table_base"]
