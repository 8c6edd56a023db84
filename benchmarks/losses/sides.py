"""Who competes, and with which settings: the same number of trials for every loss."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common.rows import Settings
from lightning_croloss import CROLoss, SoftmaxLoss
from lightning_croloss.losses import RetrievalLoss

#: From .04 to .4 in equal ratios: twelve temperatures.
TEMPERATURES = tuple(round(0.04 * 10 ** (step / 11), 3) for step in range(12))


def _power(kernel: str, alpha: float, *temperatures: float, **others: float) -> list[Settings]:
    return [{"kernel": kernel, "alpha": alpha, "temperature": t, **others} for t in temperatures]


#: Name of a side -> its trials.
TRIALS: dict[str, list[Settings]] = {
    "CROLoss": [
        *_power("softplus", 1.0, 0.055, 0.075, 0.1, 0.14),
        *_power("exp", 1.2, 0.1, 0.14),
        *_power("exp", 1.4, 0.1),
        *_power("softplus", 1.0, 0.075, 0.1, lambda_weight=1.0),
        *_power("sigmoid", 1.0, 0.07),
        *_power("sigmoid", 0.8, 0.07),
        *_power("softplus", 1.2, 0.1),
    ],
    "softmax": [{"temperature": t} for t in TEMPERATURES],
    # the published losses are those of g(d / 2)^(1 / τ): a τ of theirs is a temperature of about 2 τ
    "PSL": [
        {"kernel": f"psl_{g}", "temperature": t}
        for g in ("tanh", "relu", "atan")
        for t in (0.03, 0.045, 0.065, 0.1)
    ],
}

#: Name of a side -> how its loss is built from a setting.
BUILDERS: dict[str, Callable[..., RetrievalLoss]] = {
    "CROLoss": CROLoss,
    "softmax": SoftmaxLoss,
    "PSL": lambda **setting: CROLoss(alpha=1.0, **setting),
}


def build_loss(side: str, setting: Settings) -> RetrievalLoss:
    """Build a loss of a side."""
    return BUILDERS[side](**setting)
