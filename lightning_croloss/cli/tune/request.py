"""What is asked of a search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_croloss.tuning.objective import Objective


@dataclass(frozen=True)
class Request:
    """What is asked of a search.

    Attributes:
        objectives: what is looked for; each has a winner.
        fits: what it may cost, in fits of full length; None is 2.5, or what the settings need.
        minutes: what it may take.
        trials: how many settings are tried; None is what there are.
        sampler: how settings beyond the portfolio are drawn.
        processes: how many runs are made side by side.
        seeds: with which the winner is trained again.
        storage: the URL of a storage of Optuna; None is a file in the folder.
        folder: where everything is kept.
        overwrite: whether the folder may hold another search, which is then removed.
        command: the whole command line.
        began: when it began, by ``time.monotonic``; None is now.
    """

    objectives: tuple[Objective, ...]
    folder: Path
    fits: float | None = None
    minutes: float | None = None
    trials: int | None = None
    sampler: str = "random"
    processes: int = 1
    seeds: tuple[int, ...] = ()
    storage: str | None = None
    overwrite: bool = False
    command: str = "croloss tune"
    began: float | None = None

    @property
    def ns(self) -> list[int]:
        """All N that are looked at."""
        return sorted({n for objective in self.objectives for n in objective.weights})

    def to_plain(self) -> dict[str, Any]:
        """Return what the outcome depends on."""
        objectives = [objective.to_plain() for objective in self.objectives]
        names = ("fits", "minutes", "trials", "sampler")
        return {"objectives": objectives} | {name: getattr(self, name) for name in names}


__all__ = ["Request"]
