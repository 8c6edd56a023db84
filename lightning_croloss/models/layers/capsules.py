"""Dynamic routing of a history into interests, as MIND and ComiRec-DR do it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Rounds of routing that a model may ask for: the interests hardly change after the first few.
MOST_ROUNDS = 100


def squash(vectors: Tensor) -> Tensor:
    """Shrink vectors (..., D) to a length below 1: ``|z|² / (1 + |z|²) · z / |z|``; zeros stay zeros."""
    # float32 at least, in which the bound is not zero; it keeps the gradient of the root finite at zero
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    squared = wide.square().sum(-1, keepdim=True)
    return (wide * squared.clamp(min=1e-12).sqrt() / (1.0 + squared)).to(vectors.dtype)


def route_to_interests(
    events: Tensor, bilinear_map: Tensor, mask: Tensor, logits: Tensor, active: Tensor, iterations: int
) -> Tensor:
    """Group the events of each history into interests.

    Each event spreads its weight 1 over the active interests by a softmax of its routing logits; an interest
    is the squashed sum of its mapped events; the logits then grow by the agreement (dot product) of mapped
    event and interest. As in the public implementations no gradient flows through the routing: it decides
    like a clustering, and only the last sum is trained.

    All events share the map S of an interest, so it need not be applied to them: ``Σ w S e = S Σ w e`` and
    ``u · S e = Sᵀu · e``. That is K products for each history instead of L, or K · L.

    Args:
        events: (B, L, D) embeddings of the events.
        bilinear_map: (D, D) the matrix S of all interests, or (K, D, D) one for each.
        mask: (B, L) bool, True = a real event.
        logits: (B, K, L) initial routing logits, not trained. If they are equal for all interests, so are
            the interests.
        active: (B, K) bool, the interests that a user may have, at least one.
        iterations: number of sums, at least 1.

    Returns:
        (B, K, D); zeros for an interest that is not active and for an empty history.
    """
    return _routing(
        lambda weights: _times(weights.to(events.dtype) @ events, bilinear_map.mT),
        lambda interests: _times(interests, bilinear_map) @ events.mT,
        mask,
        logits.detach().masked_fill(~active.unsqueeze(-1), float("-inf")),
        iterations,
    )


def route_mapped_events(mapped: Tensor, mask: Tensor, iterations: int) -> Tensor:
    """Group the events of each history into interests, an event having an image for each interest.

    The rounds are those of :func:`route_to_interests`. All routing logits begin at zero: that the images of
    an event differ is what makes the interests differ.

    Args:
        mapped: (B, L, K, D) the images of the events.
        mask: (B, L) bool, True = a real event.
        iterations: number of sums, at least 1.

    Returns:
        (B, K, D); zeros for an empty history.
    """
    # one product of a row for each user and interest: (B, K, 1, L) with (B, K, L, D), and (B, K, 1, D) with
    # (B, K, D, L), which is several times faster than (B, K, L, D) with a column
    images = mapped.transpose(1, 2)
    return _routing(
        lambda weights: (weights.to(images.dtype).unsqueeze(2) @ images).squeeze(2),
        lambda interests: (interests.unsqueeze(2) @ images.mT).squeeze(2),
        mask,
        images.new_zeros(images.shape[:3]),
        iterations,
    )


def _times(vectors: Tensor, matrices: Tensor) -> Tensor:
    """Multiply vectors (B, K, D) by one matrix (D, D), or by one for each of the K."""
    if matrices.ndim == 2:
        return vectors @ matrices
    return (vectors.transpose(0, 1) @ matrices).transpose(0, 1)


def _routing(
    weighted_sum: Callable[[Tensor], Tensor],
    agreement: Callable[[Tensor], Tensor],
    mask: Tensor,
    logits: Tensor,
    iterations: int,
) -> Tensor:
    """Route: weigh, sum, squash, and let agreement decide the next weights; only the last sum is trained.

    Args:
        weighted_sum: from weights (B, K, L) to sums (B, K, D) of mapped events.
        agreement: from interests (B, K, D) to their dot products (B, K, L) with mapped events.
        mask: (B, L) bool, True = a real event.
        logits: (B, K, L) initial routing logits.
        iterations: number of sums.
    """

    def interests() -> Tensor:
        return squash(weighted_sum(torch.softmax(logits, dim=1) * mask.unsqueeze(1)))

    with torch.no_grad():
        for _ in range(iterations - 1):
            logits = logits + agreement(interests())
    return interests()


def active_interests(lengths: Tensor, largest: int) -> Tensor:
    """Tell which interests a user with so many events has: the first ``max(1, min(K, log2(length)))``.

    Args:
        lengths: (B,) number of events.
        largest: K.

    Returns:
        (B, K) bool; the logarithm is rounded down, and the first interest is always active.
    """
    numbers = torch.arange(1, largest + 1, device=lengths.device)
    # in integers, so that a power of two is exact on every device; no history has 2^62 events
    enough = lengths.unsqueeze(1) >= 2 ** numbers.clamp(max=62)
    return enough | (numbers == 1)
