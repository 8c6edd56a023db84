"""Plain values that name each other too often are refused without looking through them."""

import time

import pytest
import torch

from lightning_croloss.common.plain_content import COUNT, check_expansion, check_hyperparameters, check_plain
from lightning_croloss.errors import PretrainedError


def laughs(width, levels):
    value = [1] * width
    for _ in range(levels):
        value = [value] * width
    return value


def endless():
    value = []
    value.append({"again": (value,)})
    return value


def deep():
    value = []
    for _ in range(5000):
        value = [value]
    return value


@pytest.mark.parametrize("make", [lambda: laughs(9, 12), lambda: {"x": laughs(2, 40)}, endless, deep])
def test_few_bytes_do_not_become_many_values(make):
    made = make()  # never in an argument, which would be shown
    began = time.perf_counter()
    with pytest.raises(PretrainedError, match=r"m\.ckpt is damaged, or was made to exhaust memory"):
        check_expansion(made, "m.ckpt")
    assert time.perf_counter() - began < 2


def test_large_and_shared_content_is_not_meant():
    shared = {"betas": (0.9, 0.99)}
    check_expansion({"items": list(range(COUNT * 2)), "groups": [shared] * 1000}, "m.ckpt")


def test_a_long_list_in_many_places_is_looked_at_once():
    made = [list(range(10_000))] * 20_000
    began = time.process_time()
    with pytest.raises(PretrainedError, match=r"m\.ckpt is damaged, .* or stand in too many places"):
        check_expansion({"items": made}, "m.ckpt")
    assert time.process_time() - began < 1
    check_expansion({"items": made[:3], "users": list(range(COUNT))}, "m.ckpt")


def test_hyperparameters_are_few_wherever_they_stand():
    shared = list(range(1000))
    check_hyperparameters({"ns": [shared] * 90}, "m.ckpt")
    with pytest.raises(PretrainedError, match=r"m\.ckpt is damaged, .* are more than 100,000 values"):
        check_hyperparameters({"ns": [shared] * 101}, "m.ckpt")


def test_hyperparameters_are_plain():
    check_plain({"a": [1, 2.0, None, True, ("x", {"b": "c"})]}, "m.ckpt")
    for odd in (torch.zeros(1).expand(10**9), b"x", {1, 2}, object()):
        for value in (odd, [odd], {"a": {"b": (odd,)}}):
            with pytest.raises(PretrainedError, match=r"m\.ckpt is damaged: its hyperparameters hold"):
                check_plain({"x": value}, "m.ckpt")
