"""The gradients of a batch, of what its sweeps have added up."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

#: Of users (B, D), positives (B, D) and candidates (M, D); None = not needed.
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def gradients_of_rows(
    users: Tensor, positives: Tensor, product: Tensor | None, slope_sum: Tensor | None, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of users and positives, of slopes that are multiplied by their coefficients.

    Args:
        users: (B, D).
        positives: (B, D).
        product: (B, D) Σ_j of the slopes times the candidates, which may change; None = the users need none.
        slope_sum: (B, 1) Σ_j of the slopes; None = neither needs one.
        needs: whether each of the inputs needs one.
    """
    if slope_sum is None:
        return None, None
    user_grad = None
    if needs[0] and product is not None:
        user_grad = product.addcmul_(slope_sum, positives, value=-1.0)
    return user_grad, -slope_sum * users if needs[1] else None
