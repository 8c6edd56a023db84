"""Sampled soft ranks estimate the catalogue's, whatever the sampler."""

import pytest
import torch

from lightning_croloss.losses import CROLoss
from tests.losses.cases import TRAINABLE

N, M, DRAWS = 50, 8, 20_000


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_the_unbiased_rank_is_unbiased(kernel, uniform):
    generator = torch.Generator().manual_seed(0)
    catalogue = 0.5 * torch.randn(N, generator=generator, dtype=torch.float64)
    positive = torch.full((DRAWS,), 0.3, dtype=torch.float64)
    q = torch.full((N,), 1 / N, dtype=torch.float64)
    if not uniform:
        q = torch.rand(N, generator=generator, dtype=torch.float64) + 0.2
        q /= q.sum()
    drawn = torch.multinomial(q, DRAWS * M, replacement=True, generator=generator).view(DRAWS, M)
    # item 0 is the target: a draw of it is an accidental hit, ignored but still a draw
    loss = CROLoss(TRAINABLE[kernel](), temperature=0.5, num_items=N, rank_scaling="unbiased")
    hits = {"negative_mask": drawn == 0}
    ranks = loss.soft_rank(
        positive, catalogue[drawn], negative_log_prob=None if uniform else q.log()[drawn], **hits
    )
    truth = loss.soft_rank(positive[:1], catalogue.unsqueeze(0), negative_mask=torch.arange(N) == 0)
    standard_error = ranks.std() / DRAWS**0.5
    assert standard_error < 0.02 * truth
    assert (ranks.mean() - truth).abs() < 4 * standard_error
    # the same draws without their correction are visibly off, so the test can fail
    if not uniform:
        wrong = loss.soft_rank(positive, catalogue[drawn], **hits)
        assert (wrong.mean() - truth).abs() > 4 * wrong.std() / DRAWS**0.5


def test_the_reference_rank_is_n_over_m_times_the_sampled_rank():
    positive, negative = torch.zeros(1), torch.tensor([[-9.0, 0.0, 9.0]])
    sampled = CROLoss("sigmoid", temperature=0.1).soft_rank(positive, negative)
    torch.testing.assert_close(sampled, torch.tensor([2.5]))
    assert CROLoss(num_items=30).soft_rank(positive, negative).item() == pytest.approx(25.0)
    unbiased = CROLoss(num_items=30, rank_scaling="unbiased")
    assert unbiased.soft_rank(positive, negative).item() == pytest.approx(16.0)
