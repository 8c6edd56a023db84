"""How parameters of trials are distributed, for Optuna: as a search draws them, or as their values show."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_croloss.tuning.space import Choices, Dimension, Range

#: The kernels, alphas and temperatures of a CROLoss that is drawn.
KERNELS = ("exp", "softplus")
ALPHA = Range(0.6, 1.6)
TEMPERATURE = Range(0.03, 0.3, log=True)
_OF_LOSSES: Mapping[str, Dimension] = {
    "kernel": Choices(KERNELS),
    "alpha": ALPHA,
    "temperature": TEMPERATURE,
}


def distribution_of(dimension: Dimension) -> Any:
    """Return the distribution of Optuna from which a dimension is drawn."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        return CategoricalDistribution(list(dict.fromkeys(map(plain_choice, dimension.values))))
    low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
    with warnings.catch_warnings():  # the last step may end before the upper end
        warnings.simplefilter("ignore")
        if dimension.integer:
            return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
        return FloatDistribution(low, high, log=log, step=step)


def dimensions_of(settings: Iterable[Mapping[str, Any]]) -> dict[str, Dimension]:
    """Return the smallest dimensions that hold some settings, of a loss also what is drawn of it otherwise.

    Args:
        settings: flat and plain values by name.
    """
    values: dict[str, list[Any]] = {}
    for params in settings:
        for name, value in params.items():
            values.setdefault(name, []).append(value)
    return {name: _dimension(found, _OF_LOSSES.get(name)) for name, found in values.items()}


def _dimension(values: Sequence[Any], drawn: Dimension | None) -> Dimension:
    if not all(map(is_number, values)):
        return Choices((*(drawn.values if isinstance(drawn, Choices) else ()), *values))
    if isinstance(drawn, Range):
        low, high = min(drawn.low, *values), max(drawn.high, *values)
        return Range(low, high, log=drawn.log and low > 0)
    if not all(isinstance(value, int) for value in values):
        values = [float(value) for value in values]
    return Range(min(values), max(values))


def holding(distribution: Any, value: Any) -> Any:
    """Return a distribution that also holds a value, widened where it is one of numbers; None if none can.

    Args:
        distribution: one of Optuna, which stays as it is.
        value: a plain value.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution if plain_choice(value) in distribution.choices else None
    if not is_number(value) or (distribution.log and value <= 0):
        return None
    if distribution._contains(distribution.to_internal_repr(value)):
        return distribution
    if distribution.step not in (None, 1):
        return None
    low, high = min(distribution.low, value), max(distribution.high, value)
    if isinstance(distribution, IntDistribution):
        return IntDistribution(low, high, log=distribution.log) if isinstance(value, int) else None
    return FloatDistribution(low, high, log=distribution.log)


def plain_choice(value: Any) -> Any:
    """Return a value as Optuna can keep it: its text if it is none of its own kinds."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


__all__ = ["ALPHA", "KERNELS", "TEMPERATURE", "dimensions_of", "distribution_of", "holding", "plain_choice"]
