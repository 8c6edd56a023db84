import math

import pytest
import torch

from lightning_croloss.losses import CROLoss, PowerImportance, TargetNImportance
from lightning_croloss.losses.importance import LINEAR_BEYOND
from tests.losses import oracle
from tests.losses.cases import IMPORTANCES

N = torch.tensor(1000.0, dtype=torch.float64)
RANKS = torch.tensor([0.5, 1.0, 1.3, 2.0, 5.0, 30.0, 400.0, 1001.0, 1e5], dtype=torch.float64)
ALPHAS = (0.0, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)


def value_and_slope(importance, log_rank, num_items=N):
    """Return W and, by autograd, dW/dℓ."""
    log_rank = log_rank.clone().requires_grad_()
    value = importance.value(log_rank, num_items)
    return value.detach(), torch.autograd.grad(value.sum(), log_rank)[0]


@pytest.mark.parametrize("name", IMPORTANCES)
def test_value_and_slope_equal_the_formula(name):
    importance = IMPORTANCES[name]()
    parameters = {key: value.item() for key, value in importance.schedulable().items()}
    value, slope = oracle.IMPORTANCE_FORMULAS[type(importance).__name__]
    expected = [value(parameters, rank, N.item()) for rank in RANKS.tolist()]
    torch.testing.assert_close(importance.value(RANKS.log(), N), torch.tensor(expected, dtype=torch.float64))
    expected = [rank * slope(parameters, rank, N.item()) for rank in RANKS.tolist()]
    torch.testing.assert_close(importance.slope(RANKS.log(), N), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", IMPORTANCES)
def test_slope_is_the_derivative_of_the_value_at_any_rank(name):
    log_rank = torch.linspace(-2, 120, 400, dtype=torch.float64)
    _, derivative = value_and_slope(IMPORTANCES[name](), log_rank)
    slope = IMPORTANCES[name]().slope(log_rank, N)
    below = log_rank < 60  # the distributions are cut there, 1 to the last bit
    torch.testing.assert_close(slope[below], derivative[below], rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(slope[~below], derivative[~below], rtol=1e-8, atol=1e-14)
    assert (slope >= 0).all()


@pytest.mark.parametrize("name", IMPORTANCES)
def test_a_catalogue_size_per_row(name):
    importance = IMPORTANCES[name]()
    sizes = torch.linspace(10, 5000, len(RANKS), dtype=torch.float64)
    for function in (importance.value, importance.slope):
        each = [function(rank.log(), size) for rank, size in zip(RANKS, sizes, strict=True)]
        torch.testing.assert_close(function(RANKS.log(), sizes), torch.stack(each))


@pytest.mark.parametrize("num_items", [1.0, 50.0, 1e7])
@pytest.mark.parametrize("alpha", [*ALPHAS, 0.999999, 1.000001, 5.0, 40.0])
def test_power_is_pinned_at_both_ends(alpha, num_items):
    ranks = torch.tensor([1.0, num_items + 1], dtype=torch.float64)
    value = PowerImportance(alpha).value(ranks.log(), torch.tensor(num_items, dtype=torch.float64))
    torch.testing.assert_close(value, torch.tensor([0.0, math.log(num_items + 1)], dtype=torch.float64))


@pytest.mark.parametrize("distance", [10.0**-k for k in range(2, 13)])
@pytest.mark.parametrize("side", [-1, 1])
def test_power_is_exact_and_continuous_near_alpha_1(distance, side):
    power, largest = side * distance, math.log1p(N.item())
    log_ranks = RANKS.log().tolist()
    value, slope = value_and_slope(PowerImportance(1.0 - power), RANKS.log())
    power = 1.0 - (1.0 - power)  # what a float lets through
    scale = largest * power / math.expm1(power * largest)
    expected = torch.tensor([scale * math.expm1(power * x) / power for x in log_ranks], dtype=torch.float64)
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-15)
    expected = torch.tensor([scale * math.exp(power * x) for x in log_ranks], dtype=torch.float64)
    torch.testing.assert_close(slope, expected, rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(value, RANKS.log(), rtol=0.0, atol=100 * distance)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_power_emphasises_the_head_for_large_alpha(alpha):
    """The share of W that is spent below rank √(N + 1), at α = 1 one half, increases with α."""
    share = PowerImportance(alpha).value(torch.log1p(N) / 2, N) / torch.log1p(N)
    power = 1 - alpha
    root = math.sqrt(N.item() + 1)
    assert share.item() == pytest.approx(1 / (1 + root**power), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 0.9])
def test_power_goes_on_linearly_beyond_its_limit(alpha):
    limit = LINEAR_BEYOND / (1 - alpha)
    log_rank = limit * torch.tensor([1 - 1e-12, 1 + 1e-12, 2.0, 3.0, 1000.0], dtype=torch.float64)
    value, slope = value_and_slope(PowerImportance(alpha), log_rank)
    torch.testing.assert_close(value[1], value[0], rtol=1e-9, atol=0.0)
    torch.testing.assert_close(slope[1], slope[0], rtol=1e-9, atol=0.0)
    assert (slope[1:] == slope[1]).all()
    torch.testing.assert_close(value[2:] - value[1], slope[1] * (log_rank[2:] - limit))
    assert PowerImportance(alpha).value(torch.tensor(1e6), N.float()).isfinite()


def test_target_n_is_a_switch_at_n():
    ranks = torch.tensor([1e-9, 20.0, 1e9], dtype=torch.float64)
    for sharpness in (1.0, 4.0):
        value = TargetNImportance(20, sharpness).value(ranks.log(), N)
        torch.testing.assert_close(value, torch.tensor([0.0, 0.5, 1.0]).double(), rtol=0, atol=1e-7)
    step = TargetNImportance(20, 500.0).value(torch.tensor([19.0, 21.0]).log(), N)
    torch.testing.assert_close(step, torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("alpha", [a for a in ALPHAS if a not in (0.0, 1.0)])
def test_the_loss_follows_the_authors_formula(alpha):
    """The authors' tail06 … head20: hard and soft differ in nothing but the rank."""
    loss = CROLoss("sigmoid", PowerImportance(alpha), 0.2, num_items=1000)
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(5, generator=generator).double()
    negative = torch.randn(5, 100, generator=generator).double()
    rank = (1 + torch.sigmoid((negative - positive.unsqueeze(1)) / 0.2).sum(1)) * (1000 / 100)
    a = 1 - alpha
    expected = (rank**a - 1) * math.log(1001) / (1001**a - 1)
    torch.testing.assert_close(loss(positive, negative), expected.mean())
