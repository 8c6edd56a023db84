"""Who competes, and with which settings: the same number of trials for every loss."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common.rows import Settings
from lightning_croloss import BSLLoss, CROLoss, SLAtKLoss, SoftmaxLoss
from lightning_croloss.losses import RetrievalLoss

#: Name of a side -> its trials, the authors' settings for Health, Electronics and Gowalla among them.
TRIALS: dict[str, list[Settings]] = {
    "softmax": [
        {"rate": 0.1, "temperature": 0.2},
        {"rate": 0.01, "temperature": 0.2},
        {"rate": 0.1, "temperature": 0.2, "positive": True},
        {"rate": 0.1, "temperature": 0.1},
        {"rate": 0.01, "temperature": 0.1},
        {"rate": 0.01, "temperature": 0.14},
        {"rate": 0.03, "temperature": 0.2},
        {"rate": 0.01, "temperature": 0.3},
    ],
    # a weight temperature well below τ log 1,000 teaches nothing
    "SL@20": [
        {"rate": 0.1, "temperature": 0.2, "weight_temperature": 2.5, "refresh_epochs": 5},
        {"rate": 0.01, "temperature": 0.2, "weight_temperature": 2.25, "refresh_epochs": 20},
        {"rate": 0.1, "temperature": 0.2, "weight_temperature": 1.75},
        {"rate": 0.1, "temperature": 0.1, "weight_temperature": 1.0},
        {"rate": 0.01, "temperature": 0.1, "weight_temperature": 1.0, "refresh_epochs": 20},
        {"rate": 0.01, "temperature": 0.14, "weight_temperature": 1.5},
        {"rate": 0.03, "temperature": 0.2, "weight_temperature": 2.5},
        {"rate": 0.01, "temperature": 0.2, "weight_temperature": 1.75},
    ],
    # the authors of BSL search exponents of .8 to 1.32
    "BSL": [
        {"rate": 0.1, "temperature": 0.2, "exponent": 1.2},
        {"rate": 0.01, "temperature": 0.2, "exponent": 1.2},
        {"rate": 0.1, "temperature": 0.2, "exponent": 1.1},
        {"rate": 0.1, "temperature": 0.2, "exponent": 1.3},
        {"rate": 0.1, "temperature": 0.14, "exponent": 1.2},
        {"rate": 0.01, "temperature": 0.2, "exponent": 1.1},
        {"rate": 0.01, "temperature": 0.14, "exponent": 1.1},
        {"rate": 0.01, "temperature": 0.14, "exponent": 1.2},
    ],
    # an α above 1 leaves alone the positives that are far from the top, a scale below 1 holds all back
    "CROLoss": [
        {"rate": 0.1, "kernel": "softplus", "alpha": 1.0, "temperature": 0.14, "positive_scale": 0.8},
        {"rate": 0.01, "kernel": "exp", "alpha": 1.2, "temperature": 0.2, "positive_scale": 0.85},
        {"rate": 0.1, "kernel": "exp", "alpha": 1.2, "temperature": 0.2, "positive_scale": 0.85},
        {"rate": 0.1, "kernel": "exp", "alpha": 1.2, "temperature": 0.2, "positive_scale": 0.8},
        {"rate": 0.1, "kernel": "exp", "alpha": 1.2, "temperature": 0.2},
        {"rate": 0.01, "kernel": "softplus", "alpha": 1.0, "temperature": 0.14, "positive_scale": 0.85},
        {"rate": 0.01, "kernel": "exp", "alpha": 1.2, "temperature": 0.14, "positive_scale": 0.9},
        {"rate": 0.01, "kernel": "exp", "alpha": 1.2, "temperature": 0.14},
    ],
}

#: Data set -> side -> the setting that its published figures were made with.
AUTHORS: dict[str, dict[str, Settings]] = {
    "mf_health": {side: TRIALS[side][0] for side in ("softmax", "SL@20")},
    "mf_electronics": {side: TRIALS[side][1] for side in ("softmax", "SL@20")},
    "mf_gowalla": {"softmax": TRIALS["softmax"][3], "SL@20": TRIALS["SL@20"][4]},
}


def _softmax(temperature: float, positive: bool = False) -> RetrievalLoss:
    # with one temperature BSL is the published softmax, whose sum leaves out the positive
    return SoftmaxLoss(temperature) if positive else BSLLoss(temperature)


#: Name of a side -> how its loss is built from a setting without its rate.
BUILDERS: dict[str, Callable[..., RetrievalLoss]] = {
    "softmax": _softmax,
    "BSL": BSLLoss,
    "SL@20": lambda **setting: SLAtKLoss(k=20, **setting),
    "CROLoss": CROLoss,
}


def build_loss(side: str, setting: Settings) -> RetrievalLoss:
    """Build a loss of a side."""
    return BUILDERS[side](**{name: value for name, value in setting.items() if name != "rate"})
