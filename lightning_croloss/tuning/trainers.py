"""The trainers of a search: one for each piece of a fit, all made in the same way."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.common.argument_types import told

#: What a search sets of a trainer unless the user does.
DEFAULTS: Mapping[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "devices": 1,
}
#: How long a fit is that nobody says anything of.
LENGTH: Mapping[str, Any] = {"max_epochs": 10}
#: What of a trainer changes the outcome of a fit.
_MATTERS = (
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "check_val_every_n_epoch",
    "val_check_interval",
    "limit_train_batches",
    "limit_val_batches",
    "precision",
)

#: Arguments of ``Trainer``, or a function that returns these or a trainer, without an argument or with the
#: folder of the candidate.
TrainerArguments = Mapping[str, Any] | Callable[..., Mapping[str, Any] | Trainer]


class Trainers:
    """Builds the trainer of each piece.

    Args:
        given: see ``TrainerArguments``; None are those of ten epochs.

    Raises:
        ValueError: the arguments do not say how long a fit is.
        TypeError: it is something else.
    """

    def __init__(self, given: TrainerArguments | None) -> None:
        given = LENGTH if given is None else given
        if isinstance(given, Trainer) or not (callable(given) or isinstance(given, Mapping)):
            raise TypeError(
                "trainer must be the arguments of Trainer, such as {'max_epochs': 10}, or a function that "
                f"makes one for each piece of a fit, got {told(given, Trainer)}"
            )
        if not callable(given) and not {"max_epochs", "max_steps"} & given.keys():
            raise ValueError("trainer must say how long a fit is: give max_epochs or max_steps")
        self._given = given

    def build(self, folder: Path, first: list[Callback], last: list[Callback]) -> Trainer:
        """Build a trainer.

        Args:
            folder: where it keeps its files.
            first: callbacks that come before all others.
            last: those that come after.

        Raises:
            TypeError: the function returns something else, or a trainer that has been used.
        """
        given: Any = self._given
        if callable(given):
            given = given(folder) if inspect.signature(given).parameters else given()
        else:
            given = copy.deepcopy(dict(given))
        if isinstance(given, Mapping):
            given = Trainer(**{**DEFAULTS, "default_root_dir": folder, **_checkpointing(given), **given})
        if not isinstance(given, Trainer):
            raise TypeError(
                "trainer must return a Trainer or the arguments of one, got " + told(given, Trainer)
            )
        if given.state.fn is not None:
            raise TypeError("trainer returned a Trainer that has been used: make a new one in each call")
        own: list[Callback] = given.callbacks  # type: ignore[attr-defined]
        own[:] = [*first, *own, *last]
        return given


def _checkpointing(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether checkpoints are kept besides those of the search: only where the user names them."""
    callbacks = given.get("callbacks") or []
    listed = [callbacks] if isinstance(callbacks, Callback) else callbacks
    return {"enable_checkpointing": any(isinstance(each, ModelCheckpoint) for each in listed)}


def described(trainer: Trainer) -> dict[str, Any]:
    """Return what of a trainer changes the outcome of a fit, as plain values."""
    found = {name: getattr(trainer, name, None) for name in _MATTERS}
    plain = {name: value for name, value in found.items() if isinstance(value, (bool, int, float, str))}
    callbacks = [type(each).__name__ for each in trainer.callbacks]  # type: ignore[attr-defined]
    return {**plain, "callbacks": callbacks}
