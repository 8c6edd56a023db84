"""ComiRec-DR: several interests of each user, by dynamic routing with maps of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts, check_rounds
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers import positions_from_end
from lightning_croloss.models.layers.capsules import MOST_ROUNDS, route_mapped_events, route_to_interests
from lightning_croloss.models.layers.interest_layers import interest_layers

#: Noise that the maps of the routing begin with, where 1 would be as long as the image itself.
MAP_NOISE = 0.25


class ComiRecDR(HistoryModel):
    """Route the history into interests, with a map of its own for each interest and position in the history.

    Cen et al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020. Unlike in MIND an
    event has another image for each interest, the routing logits begin at zero instead of at random, and
    every user has all K interests. In training the interest closest to the target stands for the user. For
    the diversity that the paper controls see :meth:`recommend`.

    The maps begin at the identity with some noise. Begun at random, as in the authors' code, the images of an
    item at two positions have nothing in common until training has aligned the maps of all positions, which
    on small data never happens.

    Args:
        num_items: size of the catalogue, from the data.
        num_interests: number of interests K.
        routing_iterations: number of rounds of the routing, at most 100.
        use_positions: whether there are maps for each position in the history, counted from the end, as in
            the paper; else the positions share those of the interests, which has far fewer weights.
        num_positions: number of positions that are told apart; events further back share the last of them.
        hidden_dims: widths of the hidden layers that each interest passes, empty for a single linear map;
            None leaves the interests as they are, as in the paper.
        dropout: probability that a hidden unit of these layers is dropped in training.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.
    """

    def __init__(
        self,
        num_items: int,
        num_interests: int = 4,
        routing_iterations: int = 3,
        use_positions: bool = True,
        num_positions: int = 50,
        hidden_dims: Sequence[int] | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_counts(num_interests=num_interests, num_positions=num_positions)
        check_rounds(MOST_ROUNDS, routing_iterations=routing_iterations)
        self.num_interests = num_interests
        self.routing_iterations = routing_iterations
        self.num_maps = num_positions if use_positions else 1
        dim = self.embedding_dim
        # for each position the maps of all interests side by side, (P, D, K * D)
        noise = MAP_NOISE * dim**-0.5 * torch.randn(self.num_maps, dim, num_interests * dim)
        self.maps = nn.Parameter(noise + torch.eye(dim).repeat(1, num_interests))
        self.interest_layers = interest_layers(dim, hidden_dims, dropout)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the interests of each user, (B, K, D)."""
        events, mask = self.embed_history(batch)
        return self.normalize(self.interest_layers(self._route(events, mask)))

    def _route(self, events: Tensor, mask: Tensor) -> Tensor:
        """Return the interests (B, K, D) of events (B, L, D) with the mask (B, L)."""
        maps = self.maps.unflatten(-1, (self.num_interests, -1))  # (P, D, K, D)
        if self.num_maps == 1:
            active = torch.ones_like(mask[:, :1]).expand(-1, self.num_interests)
            logits = torch.zeros(mask.shape[0], self.num_interests, mask.shape[1], device=mask.device)
            matrices = maps[0].permute(1, 2, 0)
            return route_to_interests(events, matrices, mask, logits, active, self.routing_iterations)
        positions = positions_from_end(mask.shape[1], self.num_maps, mask.device)
        # for each position one product (B, D) with (D, K * D)
        mapped = (events.transpose(0, 1) @ self.maps[positions]).transpose(0, 1)
        mapped = mapped.unflatten(-1, maps.shape[2:])
        return route_mapped_events(mapped, mask, self.routing_iterations)
