"""ComiRec-DR: its routing against plain loops, every argument, training and checkpoints."""

import math
from typing import ClassVar

import pytest
import torch

from lightning_croloss import ComiRecDR, SoftmaxLoss
from tests.models.cases import Outcomes
from tests.models.comirec_tests import SHARED, ComiRecTests, small


def plain_routing(model, items):
    """Return the interests (K, D) of one user with the given items, one event and interest at a time."""
    dim, count = model.embedding_dim, model.num_interests
    mapped = []
    for position, item in enumerate(items):
        maps = model.maps[min(len(items) - 1 - position, model.num_maps - 1)].reshape(dim, count, dim)
        mapped.append([model.item_embedding.weight[item] @ maps[:, k] for k in range(count)])
    logits = [[0.0] * count for _ in items]
    for _ in range(model.routing_iterations):
        capsules = []
        for k in range(count):
            total = torch.zeros(dim, dtype=mapped[0][0].dtype)
            for b, images in zip(logits, mapped, strict=True):
                total = total + math.exp(b[k]) / sum(math.exp(other) for other in b) * images[k]
            length = float(total.norm())
            capsules.append(total * length / (1.0 + length**2))
        logits = [
            [b[k] + float(capsules[k] @ images[k]) for k in range(count)]
            for b, images in zip(logits, mapped, strict=True)
        ]
    return torch.stack(capsules)


class TestComiRecDR(ComiRecTests):
    cls = ComiRecDR
    cases: ClassVar = {**SHARED, "routing_iterations": ({}, 1)}
    outcome = Outcomes(ComiRecDR, num_positions=4)
    own = ({"routing_iterations": 2}, {})
    plain = staticmethod(plain_routing)

    def test_own_arguments_out_of_range(self):
        with pytest.raises(ValueError, match="routing_iterations must be at least 1, got 0"):
            small(ComiRecDR, routing_iterations=0)
        with pytest.raises(ValueError, match="routing_iterations must be at most 100, got 101"):
            small(ComiRecDR, routing_iterations=101)

    @pytest.mark.parametrize(
        ("arguments", "reached"),
        [
            ({}, 0.65),  # the maps of four positions for 60 users: they overfit
            ({"loss": SoftmaxLoss(0.2), "use_positions": False}, 0.85),
        ],
    )
    @pytest.mark.slow
    def test_training_lowers_the_loss_and_finds_the_items(self, arguments, reached):
        self.check_training(arguments, reached)
