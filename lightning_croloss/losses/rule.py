"""The rule behind ``CROLoss(n=…)``: kernel, α and temperature for the N to be deployed, without a search.

It is a rule of thumb, fitted to measured Recall: a few constants and one formula. What it loses against a
search stands in ``docs/loss.md``.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from numbers import Real

from lightning_croloss.common.argument_types import fits, told
from lightning_croloss.losses.importance import PowerImportance

#: The n, the number of items for each of the n and the Recall@n at which a line has its value ``at``.
TYPICAL_N, TYPICAL_RATIO, TYPICAL_RECALL = 100.0, 200.0, 0.5
#: Beyond these the rule goes on as at them: nothing was measured there.
N_RANGE = (10.0, 2000.0)
RATIO_RANGE = (10.0, 20000.0)
TEMPERATURE_RANGE = (0.03, 0.4)
ALPHA_RANGE = (0.5, 2.0)


@dataclass(frozen=True)
class Line:
    """A straight line in log n, log(num_items / n) and the Recall@n, of the logarithm of a value.

    Attributes:
        at: the value at ``TYPICAL_N``, ``TYPICAL_RATIO`` and ``TYPICAL_RECALL``.
        by_n: power of ``n / TYPICAL_N``.
        by_ratio: power of ``(num_items / n) / TYPICAL_RATIO``.
        by_recall: rate of the exponential of ``expected_recall − TYPICAL_RECALL``.
    """

    at: float
    by_n: float = 0.0
    by_ratio: float = 0.0
    by_recall: float = 0.0

    def value(self, n: float, ratio: float, recall: float) -> float:
        """Return the value."""
        logarithm = self.by_n * math.log(n / TYPICAL_N) + self.by_ratio * math.log(ratio / TYPICAL_RATIO)
        return self.at * math.exp(logarithm + self.by_recall * (recall - TYPICAL_RECALL))


@dataclass(frozen=True)
class KernelLines:
    """What the rule knows of a kernel: how α and the temperature go with the question."""

    alpha: Line
    temperature: Line


#: (largest n, kernel): the first entry whose n is not exceeded names the kernel.
KERNEL_BY_N: tuple[tuple[float, str], ...] = ((math.inf, "softplus"),)
#: kernel -> its lines, those of softplus and exp as ``python -m benchmarks.losses.rule`` fits them; sigmoid
#: was measured at .07 alone, and has the powers of softplus.
LINES: dict[str, KernelLines] = {
    "softplus": KernelLines(Line(1.0), Line(0.085, by_n=0.05, by_ratio=-0.05, by_recall=0.1)),
    "exp": KernelLines(Line(1.2), Line(0.11, by_n=0.0, by_ratio=-0.02, by_recall=0.1)),
    "sigmoid": KernelLines(Line(1.0), Line(0.07, by_n=0.05, by_ratio=-0.05, by_recall=0.1)),
}
#: Kernels that were not measured have the lines of this one.
OTHERS_AS = "softplus"


@dataclass(frozen=True)
class RuleChoice:
    """What the rule chooses.

    Attributes:
        kernel: name of the kernel, of ``KERNELS``.
        alpha: α of ``PowerImportance``.
        temperature: τ of scores that are cosines.
    """

    kernel: str
    alpha: float
    temperature: float

    @property
    def importance(self) -> PowerImportance:
        """A new ``PowerImportance(alpha)``."""
        return PowerImportance(self.alpha)


def choose(
    n: float, num_items: int | None = None, expected_recall: float | None = None, *, kernel: str | None = None
) -> RuleChoice:
    """Choose kernel, importance and temperature of ``CROLoss`` for the N that will be deployed.

    The temperature grows with n, falls with the number of items for each of the n, and is larger where
    Recall@n is high; within the ranges that were measured it changes smoothly with each.

    Args:
        n: the N of the Recall@N that matters, at least 1; below 10 and above 2,000 the choice is that for 10
            and 2,000.
        num_items: size of the catalogue; None, if it is not known, counts as 200 items for each of the n.
        expected_recall: the Recall@n that you expect, 0 … 1; None counts as 0.5.
        kernel: name of a kernel that stays, for which the rest is chosen; one that the rule does not know
            gets what softplus would. None = the rule chooses it too.

    Raises:
        ValueError: n is below 1 or above the size of the catalogue, or the Recall is no fraction.
        TypeError: one of them is not a number.
    """
    check_n(n, num_items)
    check_expected_recall(expected_recall)
    within = _clamped(float(n), N_RANGE)  # for the ratio too: beyond the range the answer stays as it is
    ratio = TYPICAL_RATIO if num_items is None else _clamped(num_items / within, RATIO_RANGE)
    recall = TYPICAL_RECALL if expected_recall is None else float(expected_recall)
    if kernel is None:
        kernel = next(name for largest, name in KERNEL_BY_N if within <= largest)
    lines = LINES.get(kernel, LINES[OTHERS_AS])
    return RuleChoice(
        kernel,
        round(_clamped(lines.alpha.value(within, ratio, recall), ALPHA_RANGE), 4),
        round(_clamped(lines.temperature.value(within, ratio, recall), TEMPERATURE_RANGE), 4),
    )


def check_n(n: float, num_items: int | None) -> None:
    """Refuse an n that is no rank of the catalogue.

    Raises:
        ValueError: it is below 1, or above the size of the catalogue if that is known.
        TypeError: it is not a number.
    """
    if not (isinstance(n, Real) and fits(n, float)):  # a tensor cannot be kept in a checkpoint
        raise TypeError(f"n must be a number of at least 1, got {told(n, float)}")
    beyond = isinstance(n, int) and n > sys.float_info.max  # no float holds it
    if beyond or not 1.0 <= n < math.inf:
        raise ValueError(f"n must be a number of at least 1, got {n!s:.40}")
    if num_items is not None and n > num_items:
        raise ValueError(f"n must be at most the size of the catalogue, {num_items} items, got {n:g}")


def check_expected_recall(expected_recall: float | None) -> None:
    """Refuse a Recall that is not a fraction.

    Raises:
        ValueError: it is not between 0 and 1.
        TypeError: it is not a number.
    """
    if expected_recall is None:
        return
    if not (isinstance(expected_recall, Real) and fits(expected_recall, float)):
        raise TypeError(
            f"expected_recall must be a number between 0 and 1, got {told(expected_recall, float)}"
        )
    if not 0.0 <= expected_recall <= 1.0:
        raise ValueError(
            f"expected_recall is the Recall@n that you expect, between 0 and 1, got {expected_recall}"
        )


def _clamped(value: float, within: tuple[float, float]) -> float:
    return min(max(value, within[0]), within[1])
