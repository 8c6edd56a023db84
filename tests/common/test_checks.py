"""Checks of arguments: what is within passes, what is not is named."""

import pytest

from lightning_croloss.common.checks import (
    check_choice,
    check_counts,
    check_lists,
    check_probability,
    check_share,
    check_widths,
)


def test_what_is_within_passes():
    check_probability(dropout=0.0, history_dropout=0.999)
    check_share(alpha=0.0, beta=1.0)
    check_widths(hidden_dims=(), tower_dims=[1, 64])
    check_counts(num_items=1, num_heads=8)
    check_choice("pooling", "mean", ("mean", "max"))
    check_lists(loggers=["csv"], callbacks=(), nothing=None)


@pytest.mark.parametrize("value", [-0.1, 1.0, 2, float("nan")])
def test_a_probability_of_dropping(value):
    with pytest.raises(ValueError, match=f"history_dropout must be at least 0 and below 1, got {value}"):
        check_probability(dropout=0.5, history_dropout=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_share(value):
    with pytest.raises(ValueError, match=f"alpha must be at least 0 and at most 1, got {value}"):
        check_share(beta=0.5, alpha=value)


def test_widths():
    with pytest.raises(ValueError, match=r"hidden_dims must be at least 1 each, got \[8, 0\]"):
        check_widths(tower_dims=(4,), hidden_dims=(8, 0))


@pytest.mark.parametrize("value", [0, -3])
def test_counts(value):
    with pytest.raises(ValueError, match=f"num_heads must be at least 1, got {value}"):
        check_counts(num_items=4, num_heads=value)


@pytest.mark.parametrize(("value", "advice"), [("men", "did you mean 'mean'"), ("zzz", "known: max, mean")])
def test_a_choice(value, advice):
    with pytest.raises(ValueError, match=f"unknown pooling {value!r}; {advice}"):
        check_choice("pooling", value, ("mean", "max"))


def test_a_text_in_place_of_a_list():
    with pytest.raises(ValueError, match=r"columns='price' must be a list: write \['price'\]"):
        check_lists(others=["a"], columns="price")
