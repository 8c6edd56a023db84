"""The constants of ``CROLoss(n=…)`` from the trials, and what the rule loses against the best of all trials.

python -m benchmarks.losses.rule          # prints the constants and writes results/rule.md

For each kernel the lines of α and of the temperature are those that lose least, over all data sets and N.
Every data set's regret is also that of a rule which was fitted without it. softplus is the rule's kernel: exp
with an α above 1 loses less at N = 20 on some data sets, but much on sessions if it was fitted without them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
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
#: its power of the number of items for each of the N, and its rate by the Recall@N, for who tells it.
ALPHAS: dict[str, Sequence[float]] = {"softplus": (1.0,), "exp": (1.1, 1.15, 1.2, 1.25, 1.3)}
ALPHA_BY_N: dict[str, Sequence[float]] = {"softplus": (0.0,), "exp": (0.0, -0.02, -0.04, -0.06)}
TEMPERATURES = tuple(round(0.06 * 2 ** (step / 8), 3) for step in range(13))
BY_N = (0.0, 0.05, 0.1, 0.15)
BY_RATIO = (-0.02, -0.05, -0.1)
BY_RECALL = (0.1, 0.2, 0.3)
KERNELS = ("softplus", "exp")


class Regrets:
    """What each of the compared rules loses: ``of[kernel]`` is (rules, data sets, number of N).

    Args:
        landscapes: those of the data sets, by name.
    """

    def __init__(self, landscapes: dict[str, Landscape]) -> None:
        self.landscapes = landscapes
        self.rules = {kernel: _rules(kernel) for kernel in KERNELS}
        self.of: dict[str, NDArray[np.float64]] = {
            kernel: np.array(
                [
                    [regrets_of(landscape, kernel, lines) for landscape in landscapes.values()]
                    for lines in self.rules[kernel]
                ]
            )
            for kernel in KERNELS
        }

    def fit(self, kernel: str, left_out: str | None = None) -> KernelLines:
        """Return the lines whose squared regret is least, on the data sets but one."""
        used = [index for index, name in enumerate(self.landscapes) if name != left_out]
        squares = (self.of[kernel][:, used] ** 2).mean((1, 2))
        lines = self.rules[kernel][int(squares.argmin())]
        told = [replace(lines, temperature=replace(lines.temperature, by_recall=rate)) for rate in BY_RECALL]
        names = [name for name in self.landscapes if name != left_out]
        losses = [
            np.mean([regrets_of(self.landscapes[name], kernel, each, told=True) for name in names])
            for each in told
        ]
        return told[int(np.argmin(losses))]


def _rules(kernel: str) -> list[KernelLines]:
    return [
        KernelLines(Line(alpha, by_n=alpha_by_n), Line(temperature, by_n=by_n, by_ratio=by_ratio))
        for alpha, alpha_by_n, temperature, by_n, by_ratio in itertools.product(
            ALPHAS[kernel], ALPHA_BY_N[kernel], TEMPERATURES, BY_N, BY_RATIO
        )
    ]


def regrets_of(landscape: Landscape, kernel: str, lines: KernelLines, told: bool = False) -> list[float]:
    """Return what a rule loses on a data set, for each N, as a fraction of the best of all trials.

    Args:
        landscape: that of the data set.
        kernel: the rule's kernel.
        lines: its lines.
        told: whether the rule is told the Recall@N.
    """
    found = []
    for n in NS:
        ratio, recall = landscape.num_items / n, landscape.best[n] if told else TYPICAL_RECALL
        alpha = lines.alpha.value(n, ratio, recall)
        temperature = lines.temperature.value(n, ratio, recall)
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
    rules = {kernel: regrets.fit(kernel) for kernel in KERNELS}
    parts = [
        "# The rule of `CROLoss(n=…)`",
        "Written by `python -m benchmarks.losses.rule`, from the trials of YouTubeDNN on validation (one "
        "seed): the constants of `lightning_croloss/losses/rule.py`, and what they lose. softplus is the "
        "rule's kernel; who keeps another has its lines.",
        table(
            [
                "kernel",
                "α at N = 100",
                "power of N",
                "τ at N = 100",
                "power of N",
                "of items / N",
                "by Recall",
            ],
            [[kernel, *(f"{value:g}" for value in constants(lines))] for kernel, lines in rules.items()],
        ),
        "How far below the best of all trials of all losses the rule's choice is, in percent of it, "
        "interpolated between trials; in brackets that of a rule fitted without the data set.",
    ]
    for kernel, lines in rules.items():
        rows = []
        for name, landscape in regrets.landscapes.items():
            own = regrets_of(landscape, kernel, lines)
            without = regrets_of(landscape, kernel, regrets.fit(kernel, name))
            pairs = zip(own, without, strict=True)
            rows.append([name, *(f"{100 * one:.1f} ({100 * other:.1f})" for one, other in pairs)])
        parts += [f"## Regret with {kernel}", table(["data", *(f"@{n}" for n in NS)], rows)]
    return "\n\n".join(parts) + "\n"


def constants(lines: KernelLines) -> tuple[float, ...]:
    """Return the constants of a kernel's lines, those of α first."""
    alpha, temperature = lines.alpha, lines.temperature
    return (
        alpha.at,
        alpha.by_n,
        temperature.at,
        temperature.by_n,
        temperature.by_ratio,
        temperature.by_recall,
    )


def main() -> None:
    """Write the file."""
    text = report()
    print(text)
    write_atomically(RESULTS / "rule.md", text.encode())


if __name__ == "__main__":
    main()
