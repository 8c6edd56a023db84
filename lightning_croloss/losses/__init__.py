"""Losses over one positive and many negatives: CROLoss and its rivals, behind one contract."""

from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.bpr import BPRLoss
from lightning_croloss.losses.croloss import CROLoss
from lightning_croloss.losses.importance import (
    ExponentialImportance,
    GammaImportance,
    Importance,
    PowerImportance,
    TargetNImportance,
)
from lightning_croloss.losses.kernels import (
    KERNELS,
    ExponentialKernel,
    HeavisideKernel,
    HingeKernel,
    Kernel,
    PSLAtanKernel,
    PSLReluKernel,
    PSLTanhKernel,
    SigmoidKernel,
    SoftplusKernel,
)
from lightning_croloss.losses.softmax import SoftmaxLoss
from lightning_croloss.losses.triplet import TripletLoss

__all__ = [
    "KERNELS",
    "BPRLoss",
    "CROLoss",
    "ExponentialImportance",
    "ExponentialKernel",
    "GammaImportance",
    "HeavisideKernel",
    "HingeKernel",
    "Importance",
    "Kernel",
    "PSLAtanKernel",
    "PSLReluKernel",
    "PSLTanhKernel",
    "PowerImportance",
    "RetrievalLoss",
    "SigmoidKernel",
    "SoftmaxLoss",
    "SoftplusKernel",
    "TargetNImportance",
    "TripletLoss",
]
