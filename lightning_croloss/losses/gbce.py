"""GBCELoss: binary cross-entropy that makes up for how few of the negatives are drawn."""

from __future__ import annotations

from torch import Tensor

from lightning_croloss.losses.batches.scored import Draws
from lightning_croloss.losses.bce import BCELoss


class GBCELoss(BCELoss):
    """``−[β log σ(s₊ / τ) + Σ_j u_j log(1 − σ(s_j / τ))] / (M + 1)``: gBCE (Petrov et al., RecSys 2023).

    ``β = a (t (1 − 1/a) + 1/a)``, with ``a = M / (N − 1)`` the share of the negatives that is drawn, at most
    1, and t the calibration: the fewer are drawn, the less the positive's probability counts, which plain
    cross-entropy overestimates. With the whole catalogue as negatives it is ``BCELoss``.

    Args:
        temperature: τ, by which scores are divided; the published code has 1, with dot products.
        calibration: t, 0 (``BCELoss``) … 1 (probabilities as if all negatives were there). The authors
            advise 0.75, with 256 negatives a positive.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``, and elsewhere means M, so
            that β is 1.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    always_printed = ("temperature", "calibration")

    def __init__(
        self,
        temperature: float = 0.1,
        calibration: float = 0.75,
        num_items: int | None = None,
        *,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(
            temperature, num_items, reduction=reduction, learnable_temperature=learnable_temperature
        )
        if not 0.0 <= calibration <= 1.0:
            raise ValueError(f"calibration must be between 0 and 1, got {calibration}")
        self.calibration = float(calibration)

    def positive_power(self, draws: Draws) -> Tensor:
        """Return β, () or (B,), written as ``1 − t (1 − a)``."""
        share = (draws.num_sampled / (draws.num_items - 1.0).clamp(min=1.0)).clamp(max=1.0)
        return 1.0 - self.calibration * (1.0 - share)
