"""Exact retrieval over the whole catalogue: ranks of targets for evaluation, top items for serving."""

from lightning_croloss.retrieval.diversity import check_diversity, diverse_items
from lightning_croloss.retrieval.exact import top_items
from lightning_croloss.retrieval.ranks import target_ranks

__all__ = ["check_diversity", "diverse_items", "target_ranks", "top_items"]
