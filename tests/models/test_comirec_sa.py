"""ComiRec-SA: its readout against plain loops, every argument, training and checkpoints."""

import math
from typing import ClassVar

import pytest
import torch

from lightning_croloss import ComiRecSA, SoftmaxLoss
from lightning_croloss.models.layers.self_attention import SelfAttentiveReadout
from tests.models.cases import Outcomes
from tests.models.comirec_tests import SHARED, ComiRecTests, small


def plain_readout(model, items):
    """Return the interests (K, D) of one user with the given items, one number at a time."""
    events = [model.item_embedding.weight[item] for item in items]
    first, second = model.attention.hidden.weight, model.attention.logits.weight
    interests = []
    for interest in range(len(second)):
        logits = []
        for position, event in enumerate(events):
            key = event
            if model.positions is not None:
                key = event + model.positions[min(len(events) - 1 - position, model.num_positions - 1)]
            hidden = [math.tanh(float(row @ key)) for row in first]
            logits.append(sum(float(w) * h for w, h in zip(second[interest], hidden, strict=True)))
        powers = [math.exp(logit) for logit in logits]
        interests.append(
            sum(power / sum(powers) * event for power, event in zip(powers, events, strict=True))
        )
    return torch.stack(interests)


class TestComiRecSA(ComiRecTests):
    cls = ComiRecSA
    cases: ClassVar = {**SHARED, "attention_dim": ({}, 3)}
    outcome = Outcomes(ComiRecSA, num_positions=4)
    own = ({"attention_dim": 6},)
    plain = staticmethod(plain_readout)

    def test_own_arguments_out_of_range(self):
        with pytest.raises(ValueError, match="attention_dim must be at least 1, got 0"):
            small(ComiRecSA, attention_dim=0)

    @pytest.mark.parametrize(
        ("arguments", "reached"),
        [
            ({}, 0.85),
            ({"loss": SoftmaxLoss(0.2), "use_positions": False}, 0.85),
        ],
    )
    @pytest.mark.slow
    def test_training_lowers_the_loss_and_finds_the_items(self, arguments, reached):
        self.check_training(arguments, reached)


def test_what_padding_holds_is_not_looked_at():
    generator = torch.Generator().manual_seed(0)
    events, mask = torch.randn(2, 5, 4, generator=generator), torch.ones(2, 5, dtype=torch.bool)
    mask[1, :3] = False
    readout = SelfAttentiveReadout(4, 6, 3)
    found = readout(events, events, mask)
    changed = events.masked_fill(~mask.unsqueeze(-1), 100.0)
    assert torch.equal(readout(changed, changed, mask), found)
