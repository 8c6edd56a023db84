"""A search in a storage of Optuna, for its dashboard; a copy of what the records say, and never read back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lightning_croloss.errors import MissingExtraError
from lightning_croloss.tuning.distributions import dimensions_of, distribution_of, holding, plain_choice
from lightning_croloss.tuning.space import Dimension

RUNNING, COMPLETE, PRUNED, FAILED = "RUNNING", "COMPLETE", "PRUNED", "FAIL"
#: The attribute of a study by which a search knows its own.
SEARCH = "search"


@dataclass(frozen=True)
class MirroredTrial:
    """A candidate as a trial.

    Attributes:
        name: its name.
        params: its settings, flat and plain.
        values: the objective after so many training steps.
        state: how it stands.
        value: its final value, of one that is complete.
        attributes: what else is told of it, plain values.
    """

    name: str
    params: Mapping[str, Any]
    values: Mapping[int, float] = field(default_factory=dict)
    state: str = RUNNING
    value: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def require_optuna(what: str) -> Any:
    """Return the package.

    Args:
        what: what needs it, for the error.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(what, "tune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def check_storage(url: str) -> None:
    """Refuse a storage that cannot be opened; a database that does not exist is made.

    Raises:
        MissingExtraError: Optuna is not installed.
        ValueError: naming it and why.
    """
    _close(_opened(url))


def url_of_file(path: Path) -> str:
    """Return the URL of a storage in a file, whatever characters its path has.

    Raises:
        MissingExtraError: Optuna is not installed.
        ValueError: no URL leads to this path.
    """
    require_optuna("a storage of Optuna")
    from sqlalchemy.engine import URL, make_url

    url = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    if make_url(url).database != str(path):  # releases of SQLAlchemy differ in what they escape
        raise ValueError(f"storage {str(path)!r} cannot be used: no URL leads to it; give another folder")
    return url.replace("{", "{{").replace("}", "}}")  # in which Optuna looks for the version of its tables


def _opened(url: str) -> Any:
    """Open a storage.

    Raises:
        MissingExtraError: Optuna is not installed.
        ValueError: it cannot be opened.
    """
    optuna = require_optuna("a storage of Optuna")
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:  # whatever the driver of the database raises
        raise ValueError(_unusable(url, error)) from None


def _close(storage: Any) -> None:
    """Close the connections of a storage, which it keeps for the next one who asks."""
    storage.remove_session()
    storage.engine.dispose()


def reason(error: BaseException) -> str:
    """Return what a database says, without the statement that it says it of; Optuna's own words hide it."""
    cause = error.__cause__ or error
    said = re.split(r"\[SQL:|\(Background on", " ".join(str(cause).split()))[0].strip()
    return said[:200] or type(cause).__name__


def _unusable(url: str, error: Exception) -> str:
    said = reason(error)
    folder = Path(url.partition(":///")[2].partition("?")[0]).absolute().parent
    if "://" not in url:
        said = "it must be a URL, such as sqlite:///study.db"
    elif url.startswith("sqlite") and not folder.is_dir():
        said = f"there is no folder {folder}"
    return f"storage {url!r} cannot be used: {said}"


class Mirror:
    """A study that follows a search: trial number i is candidate number i. It is closed by :meth:`close`.

    Args:
        url: the storage, such as ``sqlite:///study.db``.
        name: name of the study.
        search: what tells this search from others.
        attributes: what is told of the whole search, plain values.

    Raises:
        MissingExtraError: Optuna is not installed.
        ValueError: the storage cannot be used, or its study of that name is another search's.
    """

    def __init__(self, url: str, name: str, search: str, attributes: Mapping[str, Any] | None = None) -> None:
        self._opened = _opened(url)
        try:
            self._open_study(url, name, {SEARCH: search, **(attributes or {})})
        except BaseException:
            self.close()
            raise

    def _open_study(self, url: str, name: str, attributes: Mapping[str, Any]) -> None:
        import optuna

        try:
            self._study = optuna.create_study(
                storage=self._opened, study_name=name, direction="maximize", load_if_exists=True
            )
        except Exception as error:  # whatever the driver of the database raises
            raise ValueError(_unusable(url, error)) from None
        known = self._study.user_attrs.get(SEARCH)
        if known is not None and known != attributes[SEARCH]:
            raise ValueError(
                f"storage {url!r} holds another search as study {name!r}: give another storage or output"
            )
        for key, value in attributes.items():
            if self._study.user_attrs.get(key) != value:
                self._study.set_user_attr(key, value)

    def close(self) -> None:
        """Close the storage, so that its file can be moved or removed on every system."""
        _close(self._opened)

    def write(
        self,
        trials: Sequence[MirroredTrial],
        expected: Sequence[Mapping[str, Any]] = (),
        space: Mapping[str, Dimension] = MappingProxyType({}),
    ) -> None:
        """Bring the study to where the search is; what is there already stays as it is.

        Args:
            trials: all candidates so far, by number.
            expected: settings of candidates that may follow, since a parameter takes no values but those
                that it was made for.
            space: the parameters whose values are drawn, and from what; those of others show it.
        """
        storage = self._study._storage
        stored = self._study.get_trials(deepcopy=False)
        dimensions = {**dimensions_of([*(trial.params for trial in trials), *expected]), **space}
        for number, trial in enumerate(trials):
            if number >= len(stored):
                template = self._template(trial, dimensions, stored)
                identity = storage.create_new_trial(self._study._study_id, template_trial=template)
                there: Any = storage.get_trial(identity)
            else:
                there = stored[number]
            if there.state.is_finished():
                continue
            for step, value in trial.values.items():
                if math.isfinite(value) and there.intermediate_values.get(step) != value:
                    storage.set_trial_intermediate_value(there._trial_id, step, value)
            for name, attribute in trial.attributes.items():
                if there.user_attrs.get(name) != attribute:
                    storage.set_trial_user_attr(there._trial_id, name, attribute)
            self._finish(there, trial)

    def _finish(self, there: Any, trial: MirroredTrial) -> None:
        from optuna.trial import TrialState

        if trial.state == RUNNING:
            return
        value = trial.value
        if trial.state == PRUNED and value is None and trial.values:
            value = trial.values[max(trial.values)]
        state = TrialState[trial.state]
        if state == TrialState.COMPLETE and (value is None or not math.isfinite(value)):
            state = TrialState.FAIL
        told = [value] if value is not None and math.isfinite(value) and state != TrialState.FAIL else None
        self._study._storage.set_trial_state_values(there._trial_id, state, told)

    def _template(
        self, trial: MirroredTrial, dimensions: Mapping[str, Dimension], stored: Sequence[Any]
    ) -> Any:
        from optuna.trial import TrialState, create_trial

        known = {name: found for each in stored for name, found in each.distributions.items()}
        distributions, params, attributes = {}, {}, {"name": trial.name}
        for name, value in trial.params.items():
            distribution = holding(known.get(name) or distribution_of(dimensions[name]), value)
            if distribution is None:  # a value that the study did not expect
                attributes[name] = value
            else:
                distributions[name] = distribution
                params[name] = plain_choice(value)
        return create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=attributes
        )


__all__ = ["COMPLETE", "FAILED", "PRUNED", "RUNNING", "Mirror", "MirroredTrial", "require_optuna"]
