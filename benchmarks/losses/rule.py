"""The constants of ``CROLoss(n=…)`` from the trials, and what the rule loses against the best of all trials.

python -m benchmarks.losses.rule          # prints the constants and writes results/rule.md

For each kernel the lines of α and of the temperature are those that lose least, over all data sets and N;
then the N up to which each kernel is the better one. Every data set's regret is also that of a rule which was
fitted without it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.rows import rows_of
from benchmarks.common.tables import table
from benchmarks.losses.datasets import DATA_SETS, NS
from benchmarks.losses.landscape import Landscape
from lightning_croloss.common.files import write_atomically
from lightning_croloss.losses.rule import TYPICAL_RECALL, KernelLines, Line

RESULTS = Path(__file__).parent / "results"
#: Rules of each kernel that are compared: α at N = 100 and its power of N; the same of the temperature, and
#: its power of the number of items for each of the N.
ALPHAS: dict[str, Sequence[float]] = {"softplus": (1.0,), "exp": (1.1, 1.15, 1.2, 1.25, 1.3)}
ALPHA_BY_N: dict[str, Sequence[float]] = {"softplus": (0.0,), "exp": (0.0, -0.02, -0.04, -0.06)}
TEMPERATURES = tuple(round(0.06 * 2 ** (step / 8), 4) for step in range(13))
BY_N = (0.0, 0.05, 0.1, 0.15)
BY_RATIO = (0.0, -0.05, -0.1)
#: The N up to which exp is chosen, and beyond it softplus.
BOUNDS = (0.0, *(math.sqrt(a * b) for a, b in itertools.pairwise(NS)), math.inf)
KERNELS = ("exp", "softplus")


@dataclass(frozen=True)
class FittedRule:
    """A rule: the N up to which exp is chosen, and the lines of both kernels."""

    bound: float
    lines: dict[str, KernelLines]

    def kernel(self, n: int) -> str:
        """Return the kernel for an N."""
        return "exp" if n <= self.bound else "softplus"


class Regrets:
    """What each of the compared rules loses: ``of[kernel]`` is (rules, data sets, number of N)."""

    def __init__(self, landscapes: dict[str, Landscape]) -> None:
        self.names = list(landscapes)
        self.rules = {kernel: _rules(kernel) for kernel in KERNELS}
        self.of: dict[str, NDArray[np.float64]] = {
            kernel: np.array(
                [
                    [_regrets(landscape, kernel, lines) for landscape in landscapes.values()]
                    for lines in self.rules[kernel]
                ]
            )
            for kernel in KERNELS
        }

    def fit(self, left_out: str | None = None) -> FittedRule:
        """Return the rule whose squared regret is least, on the data sets but one."""
        used = [index for index, name in enumerate(self.names) if name != left_out]
        lines, least = {}, {}
        for kernel in KERNELS:
            squares = (self.of[kernel][:, used] ** 2).mean(1)  # (rules, number of N)
            chosen = int(squares.mean(1).argmin())
            lines[kernel], least[kernel] = self.rules[kernel][chosen], squares[chosen]
        exp = {bound: np.array(NS) <= bound for bound in BOUNDS}
        losses = {
            bound: np.where(mask, least["exp"], least["softplus"]).mean() for bound, mask in exp.items()
        }
        return FittedRule(min(losses, key=losses.__getitem__), lines)

    def regrets(self, rule: FittedRule, name: str) -> list[float]:
        """Return what a rule loses on a data set, for each N."""
        at = {kernel: self.rules[kernel].index(rule.lines[kernel]) for kernel in KERNELS}
        data = self.names.index(name)
        return [
            float(self.of[rule.kernel(n)][at[rule.kernel(n)], data, column]) for column, n in enumerate(NS)
        ]


def _rules(kernel: str) -> list[KernelLines]:
    return [
        KernelLines(Line(alpha, by_n=alpha_by_n), Line(temperature, by_n=by_n, by_ratio=by_ratio))
        for alpha, alpha_by_n, temperature, by_n, by_ratio in itertools.product(
            ALPHAS[kernel], ALPHA_BY_N[kernel], TEMPERATURES, BY_N, BY_RATIO
        )
    ]


def _regrets(landscape: Landscape, kernel: str, lines: KernelLines) -> list[float]:
    found = []
    for n in NS:
        ratio = landscape.num_items / n
        alpha = lines.alpha.value(n, ratio, TYPICAL_RECALL)
        temperature = lines.temperature.value(n, ratio, TYPICAL_RECALL)
        found.append(1.0 - landscape.value(kernel, alpha, temperature, n) / landscape.best[n])
    return found


def landscapes() -> dict[str, Landscape]:
    """Return the landscape of each data set on which all corners have been run."""
    found = {
        name: Landscape(rows_of(RESULTS / name / "rows.jsonl").values(), data_set.num_items)
        for name, data_set in DATA_SETS.items()
    }
    return {name: each for name, each in found.items() if each.is_complete()}


def report() -> str:
    """Return the fitted constants and the tables of regret, as Markdown."""
    regrets = Regrets(landscapes())
    rule = regrets.fit()
    lines = [
        "# The rule of `CROLoss(n=…)`",
        "Written by `python -m benchmarks.losses.rule`, from the trials of YouTubeDNN on validation (one "
        "seed): the constants of `lightning_croloss/losses/rule.py`, and what they lose.",
        f"exp up to N = {rule.bound:g}, softplus beyond.",
        table(
            [
                "kernel",
                "α at N = 100",
                "power of N",
                "τ at N = 100",
                "power of N",
                "of items for each of the N",
            ],
            [[kernel, *(f"{value:g}" for value in _constants(each))] for kernel, each in rule.lines.items()],
        ),
        "## Regret\n\nHow far below the best of all trials of all losses the rule's choice is, in percent of "
        "it, interpolated between trials; behind the bar, that of a rule fitted without the data set.",
        table(
            ["data", *(f"@{n}" for n in NS)],
            [
                [
                    name,
                    *(
                        f"{100 * own:.1f} | {100 * other:.1f}".replace("|", "\\|")
                        for own, other in zip(
                            regrets.regrets(rule, name),
                            regrets.regrets(regrets.fit(name), name),
                            strict=True,
                        )
                    ),
                ]
                for name in regrets.names
            ],
        ),
    ]
    return "\n\n".join(lines) + "\n"


def _constants(lines: KernelLines) -> tuple[float, ...]:
    alpha, temperature = lines.alpha, lines.temperature
    return alpha.at, alpha.by_n, temperature.at, temperature.by_n, temperature.by_ratio


def main() -> None:
    """Write the file."""
    text = report()
    print(text)
    write_atomically(RESULTS / "rule.md", text.encode())


if __name__ == "__main__":
    main()
