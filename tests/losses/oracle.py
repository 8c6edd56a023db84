"""CROLoss once more, as slow and plain as its definition: a double loop in Python floats.

Nothing of the package is called; closed forms of W, W′, φ and φ′ are written out, not derived by autograd.
A new kernel or importance needs its formula here and then meets every test.
"""

from __future__ import annotations

import math
from math import atan, cosh, exp, log, log1p, tanh

import torch
from scipy import stats

from lightning_croloss.losses import CROLoss


def _power(base: float, exponent: float) -> float:
    return base**exponent if base > 0 else 0.0


def _psl(g, slope_of_g):
    """Return φ and φ′ of ``g(d / score_temperature) ** (1 / τ)``."""

    def value(k, d, t):
        return _power(max(0.0, g(d / k.score_temperature)), 1 / t)

    def slope(k, d, t):
        x = d / k.score_temperature
        return _power(max(0.0, g(x)), 1 / t - 1) * slope_of_g(x) / t / k.score_temperature

    return value, slope


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


#: name -> (φ, dφ/dd), functions of (kernel, d, τ)
KERNEL_FORMULAS = {
    "exp": (lambda k, d, t: exp(d / t), lambda k, d, t: exp(d / t) / t),
    "softplus": (lambda k, d, t: log1p(exp(d / t)), lambda k, d, t: _sigmoid(d / t) / t),
    "hinge": (
        lambda k, d, t: max(0.0, d / t + k.margin),
        lambda k, d, t: 1 / t if d / t + k.margin > 0 else 0.0,
    ),
    "sigmoid": (lambda k, d, t: _sigmoid(d / t), lambda k, d, t: _sigmoid(d / t) * _sigmoid(-d / t) / t),
    "psl_tanh": _psl(lambda x: 1 + tanh(x), lambda x: 1 / cosh(x) ** 2),
    "psl_relu": _psl(lambda x: 1 + x, lambda x: 1.0),
    "psl_atan": _psl(lambda x: 1 + atan(x), lambda x: 1 / (1 + x * x)),
    "heaviside": (lambda k, d, t: 1.0 if d >= 0 else 0.0, None),
}


def _power_value(p, rank, items):
    a = p["alpha"]
    return log(rank) if a == 1 else (rank ** (1 - a) - 1) * log(items + 1) / ((items + 1) ** (1 - a) - 1)


def _power_slope(p, rank, items):
    a = p["alpha"]
    return 1 / rank if a == 1 else (1 - a) * rank**-a * log(items + 1) / ((items + 1) ** (1 - a) - 1)


#: class name -> (W, dW/dR), functions of (parameters, R, N)
IMPORTANCE_FORMULAS = {
    "PowerImportance": (_power_value, _power_slope),
    "TargetNImportance": (
        lambda p, rank, items: 1 / (1 + (p["n"] / rank) ** p["sharpness"]),
        lambda p, rank, items: (
            p["sharpness"]
            / rank
            / (2 + (p["n"] / rank) ** p["sharpness"] + (rank / p["n"]) ** p["sharpness"])
        ),
    ),
    "ExponentialImportance": (
        lambda p, rank, items: 1 - exp(-p["rate"] * 100 * rank / items),
        lambda p, rank, items: p["rate"] * 100 / items * exp(-p["rate"] * 100 * rank / items),
    ),
    "GammaImportance": (
        lambda p, rank, items: stats.gamma.cdf(100 * rank / items, p["concentration"], scale=1 / p["rate"]),
        lambda p, rank, items: (
            stats.gamma.pdf(100 * rank / items, p["concentration"], scale=1 / p["rate"]) * 100 / items
        ),
    ),
}


def row(tensor, index):
    """Return a row of a (M,) or (B, M) tensor as a list; None stays None."""
    if tensor is None:
        return None
    return (tensor if tensor.dim() == 1 else tensor[index]).tolist()


def croloss(
    loss: CROLoss,
    positive_scores,
    negative_scores,
    negative_mask=None,
    negative_log_prob=None,
    num_sampled=None,
    sample_weight=None,
):
    """Return the loss, its gradients to the positives (B,) and negatives (B, M), and the ranks R (B,)."""
    parameters = {name: float(value) for name, value in loss.schedulable().items()}
    temperature, weight_of_lambda = parameters["temperature"], parameters["lambda_weight"]
    importance, importance_slope = IMPORTANCE_FORMULAS[type(loss.importance).__name__]
    rows, columns = negative_scores.shape
    values, positive_grads, negative_grads, ranks = [], [], [], []
    for i in range(rows):
        positive, negatives = loss.positive_scale * positive_scores[i].item(), negative_scores[i].tolist()
        mask, log_prob = row(negative_mask, i), row(negative_log_prob, i)
        draws = columns if num_sampled is None else torch.as_tensor(num_sampled).expand(rows)[i].item()
        if draws == 0:
            values.append(0.0)
            positive_grads.append(0.0)
            negative_grads.append([0.0] * columns)
            ranks.append(1.0)
            continue
        items = draws if loss.num_items is None else loss.num_items
        ratio = items / draws
        used = [
            0.0
            if mask is not None and mask[j]
            else 1.0
            if log_prob is None
            else 1 / (loss.num_items * exp(log_prob[j]))
            for j in range(columns)
        ]

        def rank_by(kernel, used=used, negatives=negatives, positive=positive, ratio=ratio):
            phi = KERNEL_FORMULAS[kernel.name][0]
            total = sum(
                u * phi(kernel, s - positive, temperature) for u, s in zip(used, negatives, strict=True) if u
            )
            return ratio * (1 + total) if loss.rank_scaling == "reference" else 1 + ratio * total

        rank = rank_by(loss.kernel)
        coefficient = importance_slope(parameters, rank, items)
        if weight_of_lambda > 0:
            other = importance_slope(parameters, rank_by(loss.lambda_kernel), items)
            coefficient = (1 - weight_of_lambda) * coefficient + weight_of_lambda * other
        slope = KERNEL_FORMULAS[loss.kernel.name][1]
        grads = [
            coefficient * ratio * u * slope(loss.kernel, s - positive, temperature) if u else 0.0
            for u, s in zip(used, negatives, strict=True)
        ]
        values.append(importance(parameters, rank, items))
        positive_grads.append(-loss.positive_scale * math.fsum(grads))
        negative_grads.append(grads)
        ranks.append(rank)
    weights = [1.0] * rows if sample_weight is None else sample_weight.tolist()
    weights = [weight / sum(weights) for weight in weights]
    results = (
        math.fsum(weight * value for weight, value in zip(weights, values, strict=True)),
        [weight * grad for weight, grad in zip(weights, positive_grads, strict=True)],
        [[weight * grad for grad in grads] for weight, grads in zip(weights, negative_grads, strict=True)],
        ranks,
    )
    return tuple(torch.tensor(result, dtype=torch.float64) for result in results)
