"""BPRLoss: Bayesian personalised ranking."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.kernels import SoftplusKernel
from lightning_croloss.losses.pairwise import PairwiseLoss
from lightning_croloss.losses.resolution import Comparison


class BPRLoss(PairwiseLoss):
    """Mean over the negatives of ``−log σ((s₊ − s_j) / τ)`` (Rendle et al., UAI 2009).

    Args:
        temperature: τ, by which score differences are divided; 1 is usual for unbounded dot products.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    def comparison(self) -> Comparison:
        """Return the softplus and the temperature of now."""
        return Comparison(SoftplusKernel(), float(self.temperature), pairwise=True)

    def pair_losses(self, difference: Tensor) -> Tensor:
        """Return −log σ(−difference)."""
        return -functional.logsigmoid(-difference)
