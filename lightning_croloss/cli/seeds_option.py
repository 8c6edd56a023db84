"""``--seeds`` among the options of ``croloss fit``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

OPTION = "--seeds"
SEEDS_HELP = (
    "Train and test several runs, and print mean and standard deviation of each test metric: a number of "
    "seeds from seed_everything on (3), or the seeds (1,2,3)."
)


class SeedsOption(argparse.Action):
    """Shows ``--seeds`` in the help; it is taken out before the options of a run are read."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        suppressed = {"dest": argparse.SUPPRESS, "default": argparse.SUPPRESS, "metavar": "SEEDS"}
        super().__init__(option_strings, **{**kwargs, **suppressed})

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Refuse it where one run is asked for."""
        raise ValueError(f"{OPTION} trains several runs, which only the command 'croloss fit' can start")
