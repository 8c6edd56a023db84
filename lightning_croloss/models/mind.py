"""MIND: several interests of each user, found by dynamic routing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import (
    check_choice,
    check_counts,
    check_probability,
    check_rounds,
    check_widths,
)
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers import mlp
from lightning_croloss.models.layers.capsules import MOST_ROUNDS, active_interests, route_to_interests

#: Number of positions in a history that the fixed routing logits tell apart.
ROUTING_POSITIONS = 512
ROUTING_INITS = ("random", "fixed")
READOUTS = ("hard", "attention")


class MIND(HistoryModel):
    """Route the history into interests; an item's score is the maximum over them.

    Li et al., "Multi-Interest Network with Dynamic Routing for Recommendation at Tmall", CIKM 2019. A user
    with a short history has fewer interests; the slots left over hold exact copies of the first. A copy
    never wins the maximum with a score that the first does not have, and in training it stands for the first:
    the hard readout is the same vector with the same gradient, the attention leaves it out.

    Args:
        num_items: size of the catalogue, from the data.
        num_interests: largest number of interests K.
        routing_iterations: number of rounds of the routing, at most 100.
        routing_init: "random": new standard normal routing logits for every row of every training step, as
            in the paper; "fixed": one such draw, made at construction and kept in checkpoints, for everybody,
            by an event's distance from the end of the history, beginning again after 512 events. Evaluation
            always uses the fixed draw, so that a user's recommendations do not change from call to call.
        adaptive_interests: whether a history of n events (in training, of n that were not dropped) has at
            most log2(n) interests.
        readout: the vector that stands for the user in training: "hard", the interest closest to the target,
            or "attention", a mean of the interests weighed by their similarity to it.
        readout_power: sharpness p of the attention: 0 is the plain mean of the interests, a large p the hard
            readout. The weights are the p-th powers of ``exp(similarity)``, normalised, which is
            ``softmax(p · similarity)``. The paper's ``softmax(similarity ** p)`` has these limits only for
            similarities above 1: of a cosine every power fades, and of a negative one it is not defined or
            loses the sign.
        hidden_dims: widths of the dense layers that each interest passes.
        dropout: probability that a hidden unit is dropped in training.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.
    """

    routing_logits: Tensor

    def __init__(
        self,
        num_items: int,
        num_interests: int = 4,
        routing_iterations: int = 3,
        routing_init: str = "random",
        adaptive_interests: bool = True,
        readout: str = "hard",
        readout_power: float = 10.0,
        hidden_dims: Sequence[int] = (128,),
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_counts(num_interests=num_interests)
        check_rounds(MOST_ROUNDS, routing_iterations=routing_iterations)
        check_choice("routing_init", routing_init, ROUTING_INITS)
        check_choice("readout", readout, READOUTS)
        if not 0.0 <= readout_power < float("inf"):
            raise ValueError(f"readout_power must be a number of at least 0, got {readout_power}")
        check_widths(hidden_dims=hidden_dims)
        check_probability(dropout=dropout)
        self.num_interests = num_interests
        self.routing_iterations = routing_iterations
        self.routing_init = routing_init
        self.adaptive_interests = adaptive_interests
        self.readout = readout
        self.readout_power = readout_power
        dim = self.embedding_dim
        self.bilinear_map = nn.Linear(dim, dim, bias=False)
        self.interest_layers = mlp(dim, hidden_dims, dim, dropout)
        self.register_buffer("routing_logits", torch.randn(num_interests, ROUTING_POSITIONS))

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the interests of each user, (B, K, D)."""
        events, mask = self.embed_history(batch)
        active = active_interests(mask.sum(1), self.num_interests)
        if not self.adaptive_interests:
            active = torch.ones_like(active)
        routed = route_to_interests(
            events,
            self.bilinear_map.weight,
            mask,
            self._initial_logits(mask),
            active,
            self.routing_iterations,
        )
        vectors = self.normalize(self.interest_layers(routed))
        return torch.where(active.unsqueeze(-1), vectors, vectors[:, :1])

    def select_interest(self, users: Tensor, positives: Tensor) -> Tensor:
        """Return the vector that stands for each user in training, see ``readout``.

        Args:
            users: (B, K, D) from :meth:`encode_users`.
            positives: (B, D) vectors of the targets.

        Returns:
            (B, D), of unit length if the similarity is cosine.
        """
        if self.readout == "hard":
            return super().select_interest(users, positives)
        # in float32 at least: a large power would leave the range of float16
        logits = self.readout_power * torch.einsum("bkd,bd->bk", users, positives).to(
            torch.promote_types(users.dtype, torch.float32)
        )
        copies = (users == users[:, :1]).all(-1)  # exact: see encode_users
        copies[:, 0] = False
        weights = torch.softmax(logits.masked_fill(copies, float("-inf")), dim=1)
        return self.normalize(torch.einsum("bk,bkd->bd", weights.to(users.dtype), users))

    def _initial_logits(self, mask: Tensor) -> Tensor:
        """Return routing logits (B, K, L) for histories with the mask (B, L)."""
        batch_size, length = mask.shape
        if self.training and self.routing_init == "random":
            fixed = self.routing_logits
            return torch.randn(batch_size, self.num_interests, length, dtype=fixed.dtype, device=mask.device)
        # by the distance from the end, so that padding on the left changes nothing
        positions = torch.arange(length - 1, -1, -1, device=mask.device) % ROUTING_POSITIONS
        return self.routing_logits[:, positions].expand(batch_size, -1, -1)
