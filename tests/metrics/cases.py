"""The metrics of ranks."""

from __future__ import annotations

import pytest

from lightning_croloss.metrics import HitRateAtN, MRRAtN, NDCGAtN, RankMetric, RecallAtN

METRICS: list[type[RankMetric]] = [RecallAtN, HitRateAtN, NDCGAtN, MRRAtN]
PER_METRIC = pytest.mark.parametrize("metric_class", METRICS)
