"""Losses over one positive and many negatives: CROLoss and its rivals, behind one contract.

A loss of one's own derives from ``PairwiseLoss`` (a mean over pairs), ``RetrievalLoss`` (any function of a
``ScoredBatch``) or ``FusedLoss`` (the same, with a ``FusedForm`` that is computed in tiles).
"""

from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.batches.scored import Draws, ScoredBatch
from lightning_croloss.losses.bce import BCELoss
from lightning_croloss.losses.bpr import BPRLoss
from lightning_croloss.losses.bsl import BSLLoss
from lightning_croloss.losses.croloss import CROLoss
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.loss import FusedLoss
from lightning_croloss.losses.gbce import GBCELoss
from lightning_croloss.losses.importance import (
    IMPORTANCES,
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
    PairwiseSoftmaxKernel,
    PSLAtanKernel,
    PSLReluKernel,
    PSLTanhKernel,
    SigmoidKernel,
    SoftplusKernel,
)
from lightning_croloss.losses.log_prob import log_prob_from_counts
from lightning_croloss.losses.pairwise import PairwiseLoss
from lightning_croloss.losses.recall_surrogate import RecallSurrogateLoss
from lightning_croloss.losses.sl_at_k import SLAtKLoss
from lightning_croloss.losses.softmax import SoftmaxLoss
from lightning_croloss.losses.triplet import TripletLoss

__all__ = [
    "IMPORTANCES",
    "KERNELS",
    "BCELoss",
    "BPRLoss",
    "BSLLoss",
    "CROLoss",
    "Draws",
    "ExponentialImportance",
    "ExponentialKernel",
    "FusedForm",
    "FusedLoss",
    "GBCELoss",
    "GammaImportance",
    "HeavisideKernel",
    "HingeKernel",
    "Importance",
    "Kernel",
    "PSLAtanKernel",
    "PSLReluKernel",
    "PSLTanhKernel",
    "PairwiseLoss",
    "PairwiseSoftmaxKernel",
    "PowerImportance",
    "RecallSurrogateLoss",
    "RetrievalLoss",
    "SLAtKLoss",
    "ScoredBatch",
    "SigmoidKernel",
    "SoftmaxLoss",
    "SoftplusKernel",
    "TargetNImportance",
    "TripletLoss",
    "log_prob_from_counts",
]
