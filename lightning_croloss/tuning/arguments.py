"""The arguments of ``tune``, looked at before anything is built or written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.argument_types import annotations_of, mistake_in, told
from lightning_croloss.common.replaceable import check_path
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.tuning.candidate import Candidate, check_candidates

#: Those with a sentence of their own.
_APART = ("model_factory", "data", "trainer", "candidates", "propose")


def check_types(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse arguments that are not of the types that ``tune`` declares, or contradict each other.

    Args:
        function: ``tune``.
        given: its arguments by name.

    Raises:
        TypeError: naming the argument.
        ValueError: a number is out of range.
        FileExistsError: the folder is a file, or one that must stay as it is.
    """
    declared = {name: kind for name, kind in annotations_of(function).items() if name not in _APART}
    if (mistake := mistake_in(given, declared)) is not None:
        raise TypeError(mistake[1])
    factory, seed, many = given["model_factory"], given["seed"], given["num_proposed"]
    if isinstance(factory, nn.Module) or not callable(factory):
        raise TypeError(
            "model_factory must be a function that builds a new module around a loss, such as "
            f"lambda loss: YouTubeDNN(num_items, loss=loss), got {told(factory, Callable)}"
        )
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be 0 … {2**32 - 1}, got {seed}")
    if many < 0:
        raise ValueError(f"num_proposed must be at least 0, got {many}")
    if (many > 0) != (given["propose"] is not None):
        raise ValueError("propose and num_proposed belong together: give both, or none")
    folder = expanded(given["folder"])
    check_path(folder, "folder")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"folder {folder} is a file: choose another folder")


def read_candidates(given: Sequence[Candidate | RetrievalLoss]) -> list[Candidate]:
    """Return the candidates that a user lists.

    Raises:
        TypeError: it is no list, or an entry is neither a loss nor a candidate.
        ValueError: there is none, or two have the same name.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise TypeError(f"candidates must be a list of losses or of Candidate, got {told(given, Candidate)}")
    found = []
    for number, entry in enumerate(given):
        if not isinstance(entry, (Candidate, RetrievalLoss)):
            what = told(entry, RetrievalLoss)
            raise TypeError(f"candidates[{number}] must be a loss or a Candidate, got {what}")
        found.append(Candidate.of(entry) if isinstance(entry, RetrievalLoss) else entry)
    check_candidates(found)
    return found


def check_factory(factory: Callable[..., Any], candidates: Iterable[Candidate]) -> None:
    """Refuse candidates with fields that the function which builds the module does not take.

    Raises:
        TypeError: naming the candidate.
    """
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a function that does not tell its arguments
        return
    for candidate in candidates:
        try:
            signature.bind(None, **candidate.fields)
        except TypeError as error:
            fields = ", ".join(candidate.fields)
            given = f"a loss and the fields {fields}" if fields else "a loss"
            raise TypeError(
                f"model_factory is called with {given} by candidate {candidate.name!r}, which it does not "
                f"take: {error}"
            ) from None


__all__ = ["check_factory", "check_types", "read_candidates"]
