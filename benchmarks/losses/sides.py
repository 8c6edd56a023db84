"""Who competes, and with which settings: the same number of trials for every loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.common.rows import Settings
from lightning_croloss import BSLLoss, CROLoss, GBCELoss, RecallSurrogateLoss, SLAtKLoss, SoftmaxLoss
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
    # a weight temperature of 1 at a temperature of .1 teaches little (Recall@20 of video .06); 2 gives .09
    "SL@K": [
        {"k": k, "temperature": t, "weight_temperature": w}
        for k in (20, 100)
        for t in (0.14, 0.2)
        for w in (2.5, 5.0, 10.0)
    ],
    "BSL": [
        {"temperature": t, "exponent": exponent}
        for t in (0.1, 0.14, 0.2)
        for exponent in (0.8, 0.9, 1.12, 1.25)
    ],
    # a calibration of 0 is plain binary cross-entropy
    "gBCE": [{"calibration": c, "temperature": t} for c in (0.0, 0.5, 0.75, 1.0) for t in (0.07, 0.14, 0.3)],
    # a narrow slope gives the positives of a model that has learned nothing no gradient
    "Recall surrogate": [
        {"ks": ks, "rank_temperature": width * ks[2], "temperature": t}
        for ks in ([5, 10, 20, 40, 80], [25, 50, 100, 200, 400])
        for width in (1, 10, 100)
        for t in (0.05, 0.1)
    ],
    # a temperature that is learned has a beginning alone
    "softmax, learned": [{"temperature": t} for t in (0.05, 0.1, 0.2)],
}

#: Name of a side -> how its loss is built from a setting.
BUILDERS: dict[str, Callable[..., RetrievalLoss]] = {
    "CROLoss": CROLoss,
    "softmax": SoftmaxLoss,
    "PSL": partial(CROLoss, alpha=1.0),
    "SL@K": SLAtKLoss,
    "BSL": BSLLoss,
    "gBCE": GBCELoss,
    "Recall surrogate": RecallSurrogateLoss,
    "softmax, learned": partial(SoftmaxLoss, learnable_temperature=True),
}


def build_loss(side: str, setting: Settings) -> RetrievalLoss:
    """Build a loss of a side."""
    return BUILDERS[side](**setting)
