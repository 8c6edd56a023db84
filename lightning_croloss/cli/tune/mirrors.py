"""The studies of Optuna that follow a search, one for each of its objectives."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lightning_croloss.cli.messages import say
from lightning_croloss.tuning import study
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.records import SEARCH
from lightning_croloss.tuning.space import Dimension
from lightning_croloss.tuning.study import Mirror, MirroredTrial, require_optuna

STORAGE = "optuna.db"


def check_storage(storage: str | None) -> None:
    """Say that no storage is written where Optuna is not installed.

    Args:
        storage: the URL that the user gives; None if none is given.

    Raises:
        MissingExtraError: one is given, and Optuna is not installed.
        ValueError: it cannot be used.
    """
    if storage is not None:
        require_optuna("--storage")
        try:
            study.check_storage(storage)
        except ValueError as error:
            raise ValueError(f"--storage: {error}") from None
    elif importlib.util.find_spec("optuna") is None:
        say("no storage of Optuna is written, for its dashboard: pip install 'lightning-croloss[tune]'")


class Mirrors:
    """The studies of a search, to be used as a context; none where Optuna is not installed.

    Args:
        folder: the folder of the search, with its records.
        objectives: what is looked for.
        storage: the URL of a storage; None is a file in the folder.
        command: the whole command line.

    Raises:
        ValueError: the storage that the user gives cannot be used, or holds another search of that name. One
            that nobody has asked for may fail, as SQLite does on some network file systems.
    """

    def __init__(
        self, folder: Path, objectives: Sequence[Objective], storage: str | None, command: str
    ) -> None:
        self._studies: list[tuple[Objective, Mirror]] = []
        if importlib.util.find_spec("optuna") is None:
            return
        text = (folder / SEARCH).read_text("utf-8")
        search = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        told = {"command": command, "settings": json.loads(text)}
        group = folder.resolve().name
        try:
            url = storage or study.url_of_file(folder / STORAGE)
            for objective in objectives:
                self._studies.append((objective, Mirror(url, f"{group} {objective}", search, told)))
        except BaseException as error:
            self.close()
            if not isinstance(error, ValueError) or storage is not None:
                raise
            say(f"the search goes on without a storage of Optuna: {error}")

    def __enter__(self) -> Mirrors:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the storage; nothing is written any more."""
        studies, self._studies = self._studies, []
        for _, mirror in studies:
            mirror.close()

    def write(
        self,
        trials: Callable[[Objective], Sequence[MirroredTrial]],
        expected: Sequence[Mapping[str, Any]] = (),
        space: Mapping[str, Dimension] = MappingProxyType({}),
    ) -> None:
        """Bring the studies to where the search is.

        Args:
            trials: returns all candidates so far, by number, as one objective sees them.
            expected: settings of candidates that may follow.
            space: from what the values of parameters are drawn, where they are.
        """
        for objective, mirror in self._studies:
            try:
                mirror.write(trials(objective), expected, space)
            except Exception as error:  # a database that is locked or full must not end the search
                say(f"the storage of Optuna is not written any more: {study.reason(error)}")
                self.close()
                return


__all__ = ["Mirrors", "check_storage"]
