"""Sizes of files as text."""

from __future__ import annotations

import pytest

from lightning_croloss.common.space import size


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (300_000, "293.0 KiB"),
        (2**20 - 1, "1,024.0 KiB"),
        (2**20, "1.0 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (5_000 * 2**30, "5,000.0 GiB"),
    ],
)
def test_a_size_is_told_in_a_unit_that_suits_it(number: int, said: str) -> None:
    assert size(number) == said
