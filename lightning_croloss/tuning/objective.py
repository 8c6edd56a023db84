"""Objective: what a search looks for, a metric at one N or a weighted mean over several."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Under which name a mean over several N is logged, by ``ObjectiveLogger``.
MEAN = "val/objective"


@dataclass(frozen=True)
class Objective:
    """A validation metric that is better the larger it is, at one N or as a weighted mean over several.

    Args:
        metric: "recall", "ndcg" …, logged as ``val/recall@100``; with a slash in it the beginning of such a
            name ("valid/hits"); without ``weights`` the whole name of a metric of one's own.
        weights: the weight of each N; they need not add up to 1.

    Raises:
        ValueError: an N is below 1, or a weight is not a number above 0.
    """

    metric: str = "recall"
    weights: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for n, weight in self.weights.items():
            if n < 1:
                raise ValueError(f"objective: N must be at least 1, got {n}")
            if not 0.0 < weight < math.inf:
                raise ValueError(f"objective: the weight of N = {n} must be a number above 0, got {weight}")

    @property
    def names(self) -> dict[str, float]:
        """The names of the logged metrics, with their shares, which add up to 1."""
        if not self.weights:
            return {self.metric: 1.0}
        begin = self.metric if "/" in self.metric else f"val/{self.metric}"
        total = math.fsum(self.weights.values())
        return {f"{begin}@{n}": weight / total for n, weight in self.weights.items()}

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
        for name in self.names:
            if name not in metrics:
                logged = ", ".join(sorted(metrics)) or "nothing"
                raise ValueError(f"the objective {name!r} is not logged in validation, which logs {logged}")
        value = math.fsum(share * metrics[name] for name, share in self.names.items())
        return -math.inf if math.isnan(value) else value

    def to_plain(self) -> dict[str, Any]:
        """Return a dictionary of plain values, for files."""
        return {"metric": self.metric, "weights": {str(n): weight for n, weight in self.weights.items()}}
