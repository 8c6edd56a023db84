"""What a data set's trials say of CROLoss at settings between those that were run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from benchmarks.common.rows import Row, Settings
from benchmarks.losses.choosing import best
from benchmarks.losses.datasets import NS, PARTS

#: Settings of CROLoss that are trained to the end on every data set, whatever halving says of them.
CORNERS: list[Settings] = [
    *({"kernel": "softplus", "alpha": 1.0, "temperature": t} for t in (0.055, 0.075, 0.1, 0.14)),
    *({"kernel": "exp", "alpha": 1.2, "temperature": t} for t in (0.1, 0.14)),
]


class Landscape:
    """Best validation Recall@N of a data set as a function of kernel, α and temperature.

    Between trials it is linear in α and in log τ. Softmax is the kernel exp with α = 1.

    Args:
        rows: the rows of one data set.
        num_items: size of its catalogue.
        architecture: the rows of others are left out.
    """

    def __init__(self, rows: Iterable[Row], num_items: int, architecture: str = "YouTubeDNN") -> None:
        self.num_items = num_items
        self.best = dict.fromkeys(NS, 0.0)
        found: dict[tuple[str, float], dict[float, list[float]]] = defaultdict(dict)
        for row in rows:
            given = row["settings"]
            if given["purpose"] != "tuning" or given["architecture"] != architecture:
                continue
            if len(row["valid"][str(NS[0])]) < PARTS:
                continue
            reached = [best(row, n) for n in NS]
            self.best = {n: max(self.best[n], value) for n, value in zip(NS, reached, strict=True)}
            key = _kernel_and_alpha(given["side"], given["setting"])
            if key is not None:
                found[key][math.log(given["setting"]["temperature"])] = reached
        #: kernel -> α -> (log τ ascending (T,), Recall (T, number of N))
        self.trials: dict[str, dict[float, tuple[np.ndarray, np.ndarray]]] = defaultdict(dict)
        for (kernel, alpha), by_temperature in found.items():
            order = sorted(by_temperature)
            values = np.array([by_temperature[each] for each in order])
            self.trials[kernel][alpha] = np.array(order), values

    def is_complete(self) -> bool:
        """Tell whether all corners have been run to their end."""
        for corner in CORNERS:
            temperatures, _ = self.trials[corner["kernel"]].get(corner["alpha"], ((), None))
            if math.log(corner["temperature"]) not in temperatures:
                return False
        return True

    def value(self, kernel: str, alpha: float, temperature: float, n: int) -> float:
        """Return the Recall@n to be expected of a setting.

        Outside the temperatures of the trials it falls by a hundredth for each percent of temperature, so
        that nothing is ever chosen there.

        Raises:
            ValueError: no trial has the kernel.
        """
        lines = self.trials.get(kernel)
        if not lines:
            raise ValueError(f"no trial of the kernel {kernel}")
        alphas = sorted(lines)
        column = NS.index(n)
        values = [_along(*lines[each], math.log(temperature), column) for each in alphas]
        return float(np.interp(alpha, alphas, values))


def _along(temperatures: np.ndarray, values: np.ndarray, wanted: float, column: int) -> float:
    beyond = max(temperatures[0] - wanted, wanted - temperatures[-1], 0.0)
    return float(np.interp(wanted, temperatures, values[:, column])) * math.exp(-beyond)


def _kernel_and_alpha(side: str, setting: Settings) -> tuple[str, float] | None:
    """Return kernel and α of a trial that is CROLoss with a power, without the Lambda method; else None."""
    if side == "softmax":
        return "exp", 1.0
    if side == "CROLoss" and "lambda_weight" not in setting:
        return setting["kernel"], setting["alpha"]
    return None
