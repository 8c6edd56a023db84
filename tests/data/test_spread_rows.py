"""Some rows of many, spread evenly: what choices by a part of validation go by."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data.splits import TargetRows


@given(st.integers(0, 80), st.integers(1, 90))
def test_rows_are_spread_evenly(number: int, most: int) -> None:
    rows = TargetRows(torch.arange(number), torch.arange(number) + 1)
    kept = rows.spread(most)
    assert len(kept) == min(number, most)
    assert (kept.stop == kept.first + 1).all()
    gaps = kept.first.diff()
    assert (gaps >= 1).all()
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    if number:
        assert number - kept.first[-1] <= -(-number // most)  # up to the last users
