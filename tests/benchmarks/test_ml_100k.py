"""The comparison on MovieLens-100k: its metrics."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ml_100k.protocol import metric


def test_the_metrics_of_a_target_a_user() -> None:
    ranks = [1, 2, 3, 7, 8]
    assert metric(ranks, "Recall", 7).tolist() == [1, 1, 1, 1, 0]
    assert metric(ranks, "NDCG", 7).tolist() == pytest.approx([1, 1 / np.log2(3), 0.5, 1 / 3, 0])
