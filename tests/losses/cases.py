"""What the loss tests are parametrised over: every kernel, every importance, every loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_croloss import losses
from lightning_croloss.losses import (
    KERNELS,
    BCELoss,
    BPRLoss,
    BSLLoss,
    CROLoss,
    ExponentialImportance,
    GammaImportance,
    GBCELoss,
    HingeKernel,
    Importance,
    Kernel,
    PowerImportance,
    PSLTanhKernel,
    RecallSurrogateLoss,
    RetrievalLoss,
    SLAtKLoss,
    SoftmaxLoss,
    TargetNImportance,
    TripletLoss,
)

#: Every kernel with its defaults, and those with parameters once more without.
ALL_KERNELS: dict[str, Callable[[], Kernel]] = {
    **KERNELS,
    "hinge 1.2": lambda: HingeKernel(1.2),
    "psl_tanh 0.7": lambda: PSLTanhKernel(0.7),
}
TRAINABLE: dict[str, Callable[[], Kernel]] = {
    name: kernel for name, kernel in ALL_KERNELS.items() if kernel().differentiable
}
IMPORTANCES: dict[str, Callable[[], Importance]] = {
    "power 0": lambda: PowerImportance(0.0),
    "power 0.6": lambda: PowerImportance(0.6),
    "power 1": lambda: PowerImportance(1.0),
    "power 2": lambda: PowerImportance(2.0),
    "target 3": lambda: TargetNImportance(3.0),
    "target 5 sharp": lambda: TargetNImportance(5.0, sharpness=2.5),
    "exponential": lambda: ExponentialImportance(0.03),
    "gamma": lambda: GammaImportance(2.5, rate=0.1),
}
SCALINGS = ("reference", "unbiased")
#: Every loss, as a function of the arguments that all share.
LOSSES: dict[str, Callable[..., RetrievalLoss]] = {
    "CROLoss": CROLoss,
    "CROLoss lambda": lambda **kwargs: CROLoss(
        "softplus", PowerImportance(0.6), lambda_weight=0.7, rank_scaling="unbiased", **kwargs
    ),
    "CROLoss scaled": lambda **kwargs: CROLoss("exp", alpha=1.3, positive_scale=0.8, **kwargs),
    "SoftmaxLoss": SoftmaxLoss,
    "SoftmaxLoss unbiased": lambda **kwargs: SoftmaxLoss(rank_scaling="unbiased", **kwargs),
    "BPRLoss": BPRLoss,
    "TripletLoss": TripletLoss,
    "SLAtKLoss": lambda **kwargs: SLAtKLoss(weight_temperature=0.5, k=24, **kwargs),
    "SLAtKLoss positive": lambda **kwargs: SLAtKLoss(0.2, k=24, include_positive=True, **kwargs),
    "BSLLoss": lambda **kwargs: BSLLoss(positive_temperature=0.15, **kwargs),
    "BSLLoss exponent": lambda **kwargs: BSLLoss(exponent=1.2, **kwargs),
    "BCELoss": BCELoss,
    "GBCELoss": GBCELoss,
    "RecallSurrogateLoss": lambda **kwargs: RecallSurrogateLoss(0.1, 15.0, (2, 9), **kwargs),
}
#: Those that no difference of scores tells: what a row's scores have in common counts.
POINTWISE = ("CROLoss scaled", "BSLLoss exponent", "BCELoss", "GBCELoss")
#: Those whose value is not 0 where nothing is left to compare with.
NOT_ZERO_AT_BEST = ("BCELoss", "GBCELoss", "RecallSurrogateLoss")
#: Those that are the same for M and for 2M draws.
BLIND_TO_DRAWS = ("SoftmaxLoss", "BSLLoss", "BSLLoss exponent")
#: Those that can take the fused path.
FUSED = (
    "CROLoss", "CROLoss lambda", "CROLoss scaled", "SoftmaxLoss", "SoftmaxLoss unbiased", "BSLLoss",
    "RecallSurrogateLoss",
)  # fmt: skip


def public_classes(base: type) -> list[type]:
    """Return the classes of the package's public list that derive from ``base`` and can be built."""
    found = [getattr(losses, name) for name in losses.__all__]
    return [c for c in found if inspect.isclass(c) and issubclass(c, base) and not inspect.isabstract(c)]


def other_kernel(name: str) -> str:
    """Return a kernel for the Lambda weight that differs from ``name``."""
    return "heaviside" if name == "sigmoid" else "sigmoid"


def scores(
    rows: int = 4, columns: int = 6, seed: int = 0, scale: float = 0.5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Return scores of positives (B,) and negatives (B, M) that require gradients."""
    generator = torch.Generator().manual_seed(seed)
    positive = scale * torch.randn(rows, generator=generator, dtype=torch.float64)
    negative = scale * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return positive.to(dtype).requires_grad_(), negative.to(dtype).requires_grad_()


def options(rows: int = 4, columns: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Return every option of forward: some draws masked, of unequal probability, weight and number."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "negative_mask": torch.rand(rows, columns, generator=generator) < 0.3,
        "negative_log_prob": torch.rand(rows, columns, generator=generator, dtype=torch.float64) * 3 - 5,
        "num_sampled": torch.randint(1, columns + 1, (rows,), generator=generator),
        "sample_weight": torch.rand(rows, generator=generator, dtype=torch.float64) + 0.1,
    }


def value_and_gradients(
    loss: Callable[..., Tensor], positive: Tensor, negative: Tensor, **kwargs: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the value of ``loss(positive, negative)`` and its gradients to both."""
    value = loss(positive, negative, **kwargs)
    return value.detach(), *torch.autograd.grad(value, (positive, negative))


def assert_same(first, second, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Assert that two results of :func:`value_and_gradients` agree."""
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)
