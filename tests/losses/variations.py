"""Another value of every argument of every public class of the loss package."""

from collections.abc import Iterable

from lightning_croloss.losses import (
    BCELoss,
    BPRLoss,
    BSLLoss,
    CROLoss,
    ExponentialImportance,
    GammaImportance,
    GBCELoss,
    HingeKernel,
    PowerImportance,
    PSLAtanKernel,
    PSLReluKernel,
    PSLTanhKernel,
    RecallSurrogateLoss,
    SLAtKLoss,
    SoftmaxLoss,
    TargetNImportance,
    TripletLoss,
)

#: What the rule chose once for n = 10, and would not choose today.
RECORD = {
    "n": 10.0,
    "num_items": 40,
    "expected_recall": None,
    "kernel": None,
    "alpha": 1.5,
    "temperature": 0.15,
}
#: class -> the arguments to start from, and for each argument another value
VARIATIONS = {
    CROLoss: (
        {"num_items": 40, "kernel": "softplus", "lambda_weight": 0.5},
        {
            "kernel": "exp",
            "importance": PowerImportance(0.5),
            "temperature": 0.2,
            "lambda_weight": 0.8,
            "lambda_kernel": "heaviside",
            "num_items": 60,
            "rank_scaling": "unbiased",
            "fused": True,
            "reduction": "sum",
            "positive_scale": 0.8,
            "alpha": 0.5,
            "learnable_temperature": True,
            "n": 10.0,
            "expected_recall": 0.9,
            "by_rule": RECORD,
        },
    ),
    SoftmaxLoss: (
        {"num_items": 40},
        {
            "temperature": 0.2,
            "num_items": 60,
            "rank_scaling": "unbiased",
            "fused": True,
            "reduction": "sum",
            "learnable_temperature": True,
        },
    ),
    BPRLoss: (
        {"num_items": 40},
        {"temperature": 0.2, "num_items": 60, "reduction": "sum", "learnable_temperature": True},
    ),
    TripletLoss: (
        {"num_items": 40},
        {
            "margin": 0.9,
            "temperature": 0.2,
            "num_items": 60,
            "reduction": "sum",
            "learnable_temperature": True,
        },
    ),
    SLAtKLoss: (
        {"num_items": 40},
        {
            "temperature": 0.2,
            "weight_temperature": 0.5,
            "k": 5,
            "num_items": 80,
            "include_positive": True,
            "reduction": "sum",
            "learnable_temperature": True,
            "refresh_epochs": 5,
        },
    ),
    BSLLoss: (
        {"num_items": 40, "positive_temperature": 0.15},
        {
            "temperature": 0.2,
            "positive_temperature": 0.2,
            "num_items": 60,
            "fused": True,
            "exponent": 1.1,
            "reduction": "sum",
            "learnable_temperature": True,
        },
    ),
    BCELoss: (
        {"num_items": 40},
        {"temperature": 0.2, "num_items": 60, "reduction": "sum", "learnable_temperature": True},
    ),
    GBCELoss: (
        {"num_items": 40},
        {
            "temperature": 0.2,
            "calibration": 0.3,
            "num_items": 60,
            "reduction": "sum",
            "learnable_temperature": True,
        },
    ),
    RecallSurrogateLoss: (
        {"temperature": 0.1, "rank_temperature": 15.0, "rank_scaling": "reference", "num_items": 40},
        {
            "temperature": 0.2,
            "rank_temperature": 20.0,
            "ks": (5, 30),
            "num_items": 80,
            "rank_scaling": "unbiased",
            "fused": True,
            "reduction": "sum",
            "learnable_temperature": True,
        },
    ),
    PowerImportance: ({}, {"alpha": 0.5}),
    TargetNImportance: ({"n": 10.0}, {"n": 20.0, "sharpness": 2.0}),
    ExponentialImportance: ({"rate": 0.05}, {"rate": 0.1}),
    GammaImportance: ({"rate": 0.05}, {"concentration": 2.0, "rate": 0.1}),
    HingeKernel: ({}, {"margin": 0.9}),
    PSLTanhKernel: ({}, {"score_temperature": 1.0}),
    PSLReluKernel: ({}, {"score_temperature": 1.0}),
    PSLAtanKernel: ({}, {"score_temperature": 1.0}),
}
#: Arguments that take the place of others: class -> argument -> what is left out beside it.
IN_PLACE_OF = {
    CROLoss: {"alpha": "importance"},
    BSLLoss: {"exponent": "fused"},
    SLAtKLoss: {"refresh_epochs": "learnable_temperature"},  # the former needs more than scores
}
#: Arguments of a rule, which excludes others and is kept only where it was asked: class -> its arguments.
OF_THE_RULE = {CROLoss: ("n", "expected_recall", "by_rule")}
#: Arguments that need others: class -> argument -> what is given beside it.
NEEDS = {CROLoss: {"expected_recall": {"n": 10.0}, "by_rule": {"n": 10.0}}}


def that_go_together(cls: type, names: Iterable[str]) -> dict[str, object]:
    """Return the arguments to start from and other values of some, without those that exclude one another."""
    start, variations = VARIATIONS.get(cls, ({}, {}))
    arguments: dict[str, object] = dict(start)
    for name in names:
        arguments |= NEEDS.get(cls, {}).get(name, {}) | {name: variations[name]}
    excluded = {other for name, other in IN_PLACE_OF.get(cls, {}).items() if name in arguments}
    if "n" in arguments and cls in OF_THE_RULE:
        excluded |= {"importance", "alpha"}
    return {name: value for name, value in arguments.items() if name not in excluded}


def together(cls: type) -> dict[str, object]:
    """Return other values of all arguments of a class that can be given at once."""
    _, variations = VARIATIONS.get(cls, ({}, {}))
    left_out = {*IN_PLACE_OF.get(cls, ()), *OF_THE_RULE.get(cls, ())}
    return that_go_together(cls, (name for name in variations if name not in left_out))
