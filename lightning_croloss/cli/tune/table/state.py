"""How the designs of a search by the clock stand, as a file from which it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightning_croloss.cli.tune.folder import STATE
from lightning_croloss.tuning.records import read_record, write_record


@dataclass
class Progress:
    """How far a design has been trained.

    Args:
        step: training steps so far.
        best_step: those of the best checkpoint.
        epoch: training steps of an epoch.
        validations: the training steps before each, and what it reached.
        state: the name of the file in the design's folder from which it goes on; None before the first turn.
        falling: the steps between which the learning rate fell to none; None if it did not.
    """

    step: int = 0
    best_step: int = 0
    epoch: int = 1
    validations: list[list[float]] = field(default_factory=list)
    state: str | None = None
    falling: list[int] | None = None


@dataclass(frozen=True)
class Standing:
    """How a design stands: see ``Track``.

    Args:
        name: that of the design.
        trained: seconds of training so far.
        spent: seconds so far, all included.
        values: what each validation reached.
        settled: whether it gains no more.
        error: why it failed; None if it did not.
        progress: how far it has been trained.
    """

    name: str
    trained: float
    spent: float
    values: Sequence[float]
    settled: bool
    error: str | None
    progress: Progress


@dataclass(frozen=True)
class State:
    """How a search stands.

    Args:
        elapsed: seconds that it has taken.
        besides: what a turn takes besides training, as the latest one shows.
        finished: whether it is over, so that what it has found is handed back again.
        tracks: how each design stands.
    """

    elapsed: float = 0.0
    besides: float = 0.0
    finished: bool = False
    tracks: Sequence[Standing] = ()


def read_state(folder: Path) -> State | None:
    """Return how the search of a folder stands; None if nothing has come of it.

    Raises:
        ValueError: something else has changed the file.
    """
    path = folder / STATE
    return read_record(path, _state_from) if path.exists() else None


def write_state(folder: Path, state: State) -> None:
    """Write how a search stands into its folder."""
    write_record(folder / STATE, asdict(state))


def _state_from(content: Mapping[str, Any]) -> State:
    tracks = [_standing_from(each) for each in content["tracks"]]
    return State(float(content["elapsed"]), float(content["besides"]), bool(content["finished"]), tracks)


def _standing_from(content: Mapping[str, Any]) -> Standing:
    return Standing(
        str(content["name"]),
        float(content["trained"]),
        float(content["spent"]),
        [float(value) for value in content["values"]],
        bool(content["settled"]),
        _text(content["error"]),
        _progress_from(content["progress"]),
    )


def _progress_from(content: Mapping[str, Any]) -> Progress:
    validations = [[int(step), float(value)] for step, value in content["validations"]]
    state = _text(content["state"])
    falling = content.get("falling")  # which earlier releases did not have
    return Progress(
        int(content["step"]),
        int(content["best_step"]),
        max(1, int(content["epoch"])),
        validations,
        None if state is None else Path(state).name,  # a whole path in what earlier releases wrote
        None if falling is None else [int(step) for step in falling],
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


__all__ = ["Progress", "Standing", "State", "read_state", "write_state"]
