"""Objective: what a search looks for, a metric at one N or a weighted mean over several."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

#: Under which name a mean over several N is logged, by ``ObjectiveLogger``.
MEAN = "val/objective"


@dataclass(frozen=True)
class Objective:
    """A validation metric that is better the larger it is, at one N or as a weighted mean over several.

    Args:
        metric: "recall", "ndcg" …, logged as ``val/recall@100``; or the whole name of a metric of one's own,
            which has a slash in it ("val/hits"), or ``{n}`` where the N belongs ("hits_{n}").
        weights: the weight of each N; they need not add up to 1. Empty if the name has no N.

    Raises:
        ValueError: an N is below 1, a weight is not above 0, or the name does not say where the N belongs.
        TypeError: an N is not an integer, or a weight is not a number.
    """

    metric: str = "recall"
    weights: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str):
            raise TypeError(f"metric must be a text, such as 'recall', got {self.metric!r}")
        for n, weight in self.weights.items():
            if isinstance(n, bool) or not isinstance(n, Integral):
                raise TypeError(f"n must be an integer, 1 or more, got {n!r}")
            if n < 1:
                raise ValueError(f"n must be at least 1, got {n}")
            if isinstance(weight, bool) or not isinstance(weight, Real):
                raise TypeError(f"the weight of n = {n} must be a number above 0, got {weight!r}")
            if not 0.0 < weight < math.inf:
                raise ValueError(f"the weight of n = {n} must be a number above 0, got {weight}")
        if len(self.weights) > 1 and self._template.format(n=1) == self._template.format(n=2):
            raise ValueError(
                f"metric={self.metric!r} is the same for every n: write {{n}} where it belongs, as in "
                "'val/hits@{n}'"
            )
        if not self.weights and self._template.format(n=1) != self._template.format(n=2):
            raise ValueError(f"metric={self.metric!r} has an n, and none is given")

    @property
    def names(self) -> dict[str, float]:
        """The names of the logged metrics, with their shares, which add up to 1."""
        if not self.weights:
            return {self._template: 1.0}
        total = math.fsum(self.weights.values())
        return {self._template.format(n=n): weight / total for n, weight in self.weights.items()}

    @property
    def monitor(self) -> str:
        """The one name that ``ModelCheckpoint`` monitors; a mean must be logged by ``ObjectiveLogger``."""
        names = list(self.names)
        return names[0] if len(names) == 1 else MEAN

    @property
    def label(self) -> str:
        """A short name for files: ``n100``."""
        if self.weights:
            return "_".join(f"n{n}" for n in self.weights)
        return re.sub(r"\W+", "_", self.metric).strip("_") or "metric"

    @property
    def _template(self) -> str:
        whole = "/" in self.metric or "{n}" in self.metric
        return self.metric if whole else f"val/{self.metric}@{{n}}"

    def __str__(self) -> str:
        names = [name.removeprefix("val/") for name in self.names]
        if len(names) == 1:
            return names[0]
        shares = (f"{share:.3g} {name}" for name, share in zip(names, self.names.values(), strict=True))
        return " + ".join(shares)

    def value(self, metrics: Mapping[str, float]) -> float:
        """Return the value from logged metrics; minus infinity if it is not a number.

        Raises:
            ValueError: a metric is not among them.
        """
        self.check_logged(metrics)
        value = math.fsum(share * metrics[name] for name, share in self.names.items())
        return -math.inf if math.isnan(value) else value

    def check_logged(self, metrics: Mapping[str, Any]) -> None:
        """Refuse metrics among which one of the objective is missing.

        Raises:
            ValueError: naming it and those that are logged.
        """
        for name in self.names:
            if name not in metrics:
                logged = ", ".join(sorted(metrics)) or "nothing"
                raise ValueError(
                    f"validation does not log {name!r}, which candidates are judged by; it logs {logged}"
                )

    def to_plain(self) -> dict[str, Any]:
        """Return a dictionary of plain values, for files."""
        return {"metric": self.metric, "weights": {str(n): weight for n, weight in self.weights.items()}}


def objectives_of(
    n: int | Sequence[int] | Mapping[int, float], metric: str = "recall"
) -> tuple[Objective, ...]:
    """Return what is looked for.

    Args:
        n: one N; several, each with a winner of its own; or the weight of each N in one mean.
        metric: see :class:`Objective`.

    Raises:
        ValueError: there is no N, or one comes twice.
        TypeError: one is not an integer.
    """
    if isinstance(n, Mapping):
        if not n:
            raise ValueError("n is empty: give at least one N")
        return (Objective(metric, dict(n)),)
    if isinstance(n, str) or not isinstance(n, (Integral, Iterable)):
        raise TypeError(f"n must be an integer, a list of them, or the weight of each, got {n!r}")
    ns = [*n] if isinstance(n, Iterable) else [n]
    if not ns or len(set(ns)) < len(ns):
        raise ValueError(f"n must be one N or several different ones, got {n}")
    if len(ns) > 1:
        Objective(metric, dict.fromkeys(ns, 1.0))  # refuses a name without n
    checked = [Objective(metric, {each: 1.0}) for each in ns]
    return tuple(Objective(each.metric, {int(n): 1.0 for n in each.weights}) for each in checked)
