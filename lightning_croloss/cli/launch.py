"""Processes that a launcher has started by halves, which would wait for each other in vain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import distributed

from lightning_croloss.cli.quiet import STARTED

#: What tells the processes of a run where they are to meet.
_MEET = ("MASTER_ADDR", "MASTER_PORT")
#: Launchers that tell in other words where to meet.
_OTHERS = ("SLURM_JOB_ID", "LSB_JOBID")


def refuse_half_launched(section: Mapping[str, Any]) -> None:
    """Refuse to wait for processes that cannot be met.

    Args:
        section: the fields of the trainer, as parsed.

    Raises:
        MisconfigurationException: naming what is missing.
    """
    missing = [name for name in _MEET if not os.environ.get(name)]
    if STARTED not in os.environ or not missing or any(name in os.environ for name in _OTHERS):
        return
    if distributed.is_available() and distributed.is_initialized():
        return  # they have met
    asked = [section.get("devices", 1), section.get("num_nodes", 1), os.environ.get("WORLD_SIZE", 1)]
    if any(str(number).isdigit() and int(number) > 1 for number in asked):
        raise MisconfigurationException(
            f"{STARTED} is set, as a launcher does, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not, so that the processes cannot meet: start them by "
            f"torchrun, set {' and '.join(_MEET)} in all of them, or unset {STARTED} and let the trainer "
            "start them"
        )
