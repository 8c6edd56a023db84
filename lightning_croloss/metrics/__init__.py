"""Metrics of ranked targets, exact under DDP: Recall, HitRate, NDCG and MRR at several cutoffs at once."""

from lightning_croloss.metrics.base import RankMetric
from lightning_croloss.metrics.collection import RankMetrics
from lightning_croloss.metrics.hit_rate import HitRateAtN
from lightning_croloss.metrics.mrr import MRRAtN
from lightning_croloss.metrics.ndcg import NDCGAtN
from lightning_croloss.metrics.one_cutoff import OneCutoff
from lightning_croloss.metrics.recall import RecallAtN

__all__ = ["HitRateAtN", "MRRAtN", "NDCGAtN", "OneCutoff", "RankMetric", "RankMetrics", "RecallAtN"]
