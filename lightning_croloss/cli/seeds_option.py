"""``--seeds`` among the options of ``croloss fit``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

OPTION = "--seeds"
ONE_RUN = f"{OPTION} trains several runs, which only the command 'croloss fit' can start"


def asks_for_seeds(words: Sequence[str]) -> bool:
    """Tell whether a command line is one of ``croloss fit`` with ``--seeds``."""
    return "fit" in words and any(word.partition("=")[0] == OPTION for word in words)


def refuse_in_config(config: Mapping[str, Any]) -> None:
    """Refuse seeds in a config file, which describes one run.

    Raises:
        ValueError: there are some.
    """
    if config.get("seeds") is not None:
        raise ValueError(
            f"seeds: a config describes one run: give {OPTION} {config['seeds']} as an option of fit"
        )


class SeedsOption(argparse.Action):
    """Shows ``--seeds`` in the help; it is taken out before the options of a run are read."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        shown = {"default": argparse.SUPPRESS, "metavar": "SEEDS"}  # of no config
        super().__init__(option_strings, dest, **{**kwargs, **shown})

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Refuse it where one run is asked for."""
        raise ValueError(ONE_RUN)
