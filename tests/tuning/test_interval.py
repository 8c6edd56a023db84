"""The interval of a mean over users."""

from __future__ import annotations

import pytest
import torch

from lightning_croloss.tuning.interval import bootstrap


def test_it_is_about_that_of_the_normal_distribution() -> None:
    values = (torch.rand(2_000, generator=torch.Generator().manual_seed(3)) < 0.2).double()
    mean, low, high = bootstrap(values)
    deviation = float(values.std()) / 2_000**0.5
    assert mean == pytest.approx(float(values.mean()))
    assert low == pytest.approx(mean - 1.96 * deviation, abs=0.2 * deviation)
    assert high == pytest.approx(mean + 1.96 * deviation, abs=0.2 * deviation)


def test_it_is_the_same_each_time_and_nothing_where_all_are_equal() -> None:
    values = torch.arange(50.0)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(torch.full((9,), 0.5)) == (0.5, 0.5, 0.5)


def test_no_user() -> None:
    with pytest.raises(ValueError, match="there is no user"):
        bootstrap(torch.zeros(0))
