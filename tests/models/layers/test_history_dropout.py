"""History dropout: at its rate, and never all events."""

import pytest
import torch

from lightning_croloss.models.layers import drop_history


def test_history_dropout_drops_events_at_its_rate_and_never_all():
    torch.manual_seed(0)
    history = torch.arange(1, 21).repeat(2000, 1)
    history[:, :4] = 0
    dropped = drop_history(history, 0.3, training=True)
    assert ((dropped == history) | (dropped == 0)).all()
    rate = (dropped[:, 4:] == 0).float().mean(0)  # at each position
    assert (rate - 0.3).abs().max() < 0.05  # 5 standard deviations of a mean of 2,000 draws
    assert rate.mean() == pytest.approx(0.3, abs=0.015)


def test_a_history_that_would_lose_all_keeps_all():
    torch.manual_seed(0)
    history = torch.tensor([[0, 0, 8, 9]]).repeat(1000, 1)
    dropped = drop_history(history, 0.9, training=True)
    assert (dropped != 0).any(1).all()
    whole = (dropped == history).all(1).float().mean()
    assert whole == pytest.approx(0.9**2 + 0.1**2, abs=0.06)
    assert not drop_history(torch.zeros(3, 2, dtype=torch.long), 0.9, training=True).any()


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (0.9, False)])
def test_no_history_dropout(probability, training):
    history = torch.randint(0, 9, (50, 6))
    assert torch.equal(drop_history(history, probability, training), history)
