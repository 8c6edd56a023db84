"""What went wrong in a process of a search, in one sentence, and whether any setting would have met it."""

from __future__ import annotations

import gc

import torch

from lightning_croloss.cli.errors import explained, meant_for_user, root_cause
from lightning_croloss.common.system_errors import OF_THE_MACHINE


def sentence_about(error: BaseException) -> str:
    """Return in one sentence what went wrong, and free the memory of what did."""
    if isinstance(error, SystemExit):
        return "its config was refused"
    cause = explained(root_cause(error))
    text = " ".join(str(cause).split()) or type(cause).__name__
    told = meant_for_user(cause)  # by where it was raised, which is forgotten next
    error.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return text if told else f"{type(cause).__name__}: {text}"


def is_of_the_machine(error: BaseException) -> bool:
    """Tell what any setting would have met, such as a full disk, from what is wrong with one."""
    cause = root_cause(error)
    return isinstance(cause, OSError) and cause.errno in OF_THE_MACHINE
