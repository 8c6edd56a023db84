"""What the tables are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.common.rows import failed_row
from benchmarks.common.tables import failed_runs, user_values


def test_ndcg_against_a_loop() -> None:
    ranks = torch.tensor([[1, 4, 0], [3, 9, 2], [7, 0, 0]])
    expected = []
    for row in ranks.tolist():
        gains = sum(1 / np.log2(rank + 1) for rank in row if 0 < rank <= 5)
        ideal = sum(1 / np.log2(place + 2) for place in range(sum(rank > 0 for rank in row)))
        expected.append(gains / ideal)
    assert user_values(ranks, "NDCG", 5) == pytest.approx(expected, abs=1e-6)


def test_failed_runs_are_listed() -> None:
    settings = {"purpose": "tuning", "setting": {"temperature": 0.1}, "seed": 0}
    head, listed = failed_runs({"": failed_row(settings, MemoryError("a | b"))})
    assert head.startswith("## Failed runs\n\n1 failed and left out")
    assert listed.splitlines()[2:] == [
        "| purpose tuning, seed 0, temperature 0.1 | MemoryError | a \\| b |",
    ]
    assert failed_runs({}) == []
