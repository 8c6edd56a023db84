"""Importances W(R): how much a rank hurts, and so which N the loss cares for.

Everything is a function of ``ℓ = log R``: :meth:`Importance.value` gives W and :meth:`Importance.slope` gives
dW/dℓ, which stay finite for ranks that overflow. ``N`` is the size of the catalogue.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_croloss.common.host_numbers import scalar_beside
from lightning_croloss.common.printed_call import PrintedCall
from lightning_croloss.configurable import Configurable
from lightning_croloss.losses.arguments import scheduled_value

#: (1 − α)ℓ beyond which PowerImportance goes on linearly in ℓ, so that huge scores stay finite.
LINEAR_BEYOND = 40.0
#: ℓ at which the distribution functions, which are 1 long before, are cut.
LARGEST_LOG_RANK = 60.0


class Importance(PrintedCall, Configurable, ABC):
    """The weight of a rank; increasing in the rank.

    Attributes:
        name: the name in :data:`IMPORTANCES`; those of your own need none.
    """

    name: str

    @abstractmethod
    def value(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return W, (B,).

        Args:
            log_rank: (B,) logarithm of the rank in the catalogue.
            num_items: () or (B,) size of the catalogue N.
        """

    @abstractmethod
    def slope(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return dW/dℓ, (B,), of the same arguments."""

    def schedulable(self) -> dict[str, Tensor]:
        """Return the parameters that may change while training (see ``RetrievalLoss.schedulable``)."""
        return {}

    def check_value(self, name: str, value: float, num_items: int | None) -> None:
        """Raise ``ValueError`` if the parameter ``name`` must not be ``value`` for this catalogue."""


class PowerImportance(Importance):
    """``W = (R^{1−α} − 1) log(N+1) / ((N+1)^{1−α} − 1)``, and ``log R`` at α = 1 (CROLoss, CIKM 2022).

    ``W(1) = 0`` and ``W(N+1) = log(N+1)`` for every α, and W is continuous in α.

    Args:
        alpha: α > 1 favours the head (Recall at small N), α < 1 the tail (large N); 0 weighs all ranks alike.
    """

    name = "power"
    always_printed = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.check_value("alpha", alpha, None)
        self.alpha = scheduled_value(alpha)

    def value(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return W; beyond ``(1 − α)ℓ = 40`` its tangent in ℓ."""
        power = self._power(log_rank)
        if isinstance(power, float) and power == 0.0:
            return log_rank.clone()
        inside = _inside(log_rank, power)
        largest = torch.log1p(num_items)
        scale = largest / _expm1_over(power, largest)
        grown = torch.exp(power * inside) * (log_rank - inside)  # 0 but where the tangent goes on
        return scale * (_expm1_over(power, inside) + grown)

    def slope(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return dW/dℓ, constant beyond ``(1 − α)ℓ = 40``."""
        power = self._power(log_rank)
        if isinstance(power, float) and power == 0.0:
            return torch.ones_like(log_rank)
        largest = torch.log1p(num_items)
        return largest / _expm1_over(power, largest) * torch.exp(power * _inside(log_rank, power))

    def _power(self, like: Tensor) -> Tensor | float:
        """Return 1 − α, as a tensor where a graph must hold for every value that a schedule may set later."""
        if torch.compiler.is_compiling():
            return 1.0 - self.alpha.to(like.dtype)
        return 1.0 - float(self.alpha)

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``alpha``."""
        return {"alpha": self.alpha}

    def check_value(self, name: str, value: float, num_items: int | None) -> None:
        """Refuse an α that is negative or not finite."""
        if name == "alpha" and not 0.0 <= value < math.inf:
            raise ValueError(f"alpha must be a number of at least 0, got {value}")


class TargetNImportance(Importance):
    """``W = 1 / (1 + (n / R)^sharpness)``: a log-logistic switch at rank n, a smooth ``1[R > n]``.

    It says in the loss which N will be deployed: minimising it maximises a smooth Recall@n.

    Args:
        n: the N of the Recall@N that matters, at least 1. Small n has little gradient at initialisation,
            where every rank is large: let ``CROLossCallback`` anneal it from large to small.
        sharpness: how sudden the switch is; large values approach the step.
    """

    name = "target_n"

    def __init__(self, n: float, sharpness: float = 1.0) -> None:
        self.check_value("n", n, None)
        self.check_value("sharpness", sharpness, None)
        self.n = scheduled_value(n)
        self.sharpness = scheduled_value(sharpness)

    def value(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return W."""
        return torch.sigmoid(self._steps_beyond(log_rank))

    def slope(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return dW/dℓ."""
        x = self._steps_beyond(log_rank)
        return self.sharpness.to(x.dtype) * torch.sigmoid(x) * torch.sigmoid(-x)

    def _steps_beyond(self, log_rank: Tensor) -> Tensor:
        return self.sharpness.to(log_rank.dtype) * (log_rank - self.n.log().to(log_rank.dtype))

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``n`` and ``sharpness``."""
        return {"n": self.n, "sharpness": self.sharpness}

    def check_value(self, name: str, value: float, num_items: int | None) -> None:
        """Refuse n < 1, n larger than the catalogue, and a sharpness that is not positive."""
        if name == "n" and not 1.0 <= value < math.inf:
            raise ValueError(f"n must be a number of at least 1, got {value}")
        if name == "n" and num_items is not None and value > num_items:
            raise ValueError(f"n must be at most the size of the catalogue, {num_items} items, got {value:g}")
        if name == "sharpness" and not 0.0 < value < math.inf:
            raise ValueError(f"sharpness must be a positive number, got {value}")


class ExponentialImportance(Importance):
    """``W = 1 − exp(−rate · p)`` with p the rank in percent of the catalogue (after the authors' code).

    Args:
        rate: the larger, the more the head matters; half of the loss lies below ``log 2 / rate`` percent.
    """

    name = "exponential"
    always_printed = ("rate",)

    def __init__(self, rate: float = 1.0) -> None:
        self.check_value("rate", rate, None)
        self.rate = scheduled_value(rate)

    def value(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return W."""
        return -torch.expm1(-self.rate.to(log_rank.dtype) * _percent(log_rank, num_items))

    def slope(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return dW/dℓ."""
        x = self.rate.to(log_rank.dtype) * _percent(log_rank, num_items)
        return x * torch.exp(-x)

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``rate``."""
        return {"rate": self.rate}

    def check_value(self, name: str, value: float, num_items: int | None) -> None:
        """Refuse a rate that is not positive."""
        if name == "rate" and not 0.0 < value < math.inf:
            raise ValueError(f"rate must be a positive number, got {value}")


class GammaImportance(Importance):
    """The gamma distribution function at the rank in percent of the catalogue (the authors' code, as above).

    Args:
        concentration: shape of the distribution; above 1 the very first ranks matter less than those near
            ``(concentration − 1) / rate`` percent.
        rate: inverse scale.
    """

    name = "gamma"
    always_printed = ("concentration", "rate")

    def __init__(self, concentration: float = 1.0, rate: float = 1.0) -> None:
        self.check_value("concentration", concentration, None)
        self.check_value("rate", rate, None)
        self.concentration = scheduled_value(concentration)
        self.rate = scheduled_value(rate)

    def value(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return W."""
        x = self.rate.to(log_rank.dtype) * _percent(log_rank, num_items)
        distribution: Tensor = torch.special.gammainc(scalar_beside(self.concentration, x), x)
        return distribution

    def slope(self, log_rank: Tensor, num_items: Tensor) -> Tensor:
        """Return dW/dℓ."""
        x = self.rate.to(log_rank.dtype) * _percent(log_rank, num_items)
        shape = self.concentration.to(x.dtype)
        return torch.exp(torch.xlogy(shape, x) - x - torch.lgamma(shape))

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``concentration`` and ``rate``."""
        return {"concentration": self.concentration, "rate": self.rate}

    def check_value(self, name: str, value: float, num_items: int | None) -> None:
        """Refuse parameters that are not positive."""
        if name in ("concentration", "rate") and not 0.0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number, got {value}")


#: name -> importance
IMPORTANCES: dict[str, type[Importance]] = {
    importance.name: importance
    for importance in (PowerImportance, TargetNImportance, ExponentialImportance, GammaImportance)
}


def _inside(log_rank: Tensor, power: Tensor | float) -> Tensor:
    if isinstance(power, float):
        return log_rank if power <= 0.0 else log_rank.clamp(max=LINEAR_BEYOND / power)
    return torch.minimum(log_rank, LINEAR_BEYOND / power.clamp(min=1e-30))


def _expm1_over(power: Tensor | float, x: Tensor) -> Tensor:
    """Return ``(exp(power · x) − 1) / power``, which is x at power = 0; exact near there too."""
    y = power * x
    if isinstance(power, float):
        return torch.expm1(y) / power
    small = y.abs() < 1e-4
    series = 1.0 + y * (0.5 + y / 6.0)
    return x * torch.where(small, series, torch.expm1(y) / torch.where(small, torch.ones_like(y), y))


def _percent(log_rank: Tensor, num_items: Tensor) -> Tensor:
    return 100.0 * torch.exp(log_rank.clamp(max=LARGEST_LOG_RANK)) / num_items
