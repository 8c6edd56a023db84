"""From vectors to lists: top items, tokens, the popular fallback, allowed and denied items.

What is exported here needs no torch, so that serving an exported model can share it. ``recommend.top_items``,
``recommend.token_recommender`` and ``recommend.histories`` use torch and are not imported here.
"""

from lightning_croloss.recommend.item_table import ItemTable
from lightning_croloss.recommend.results import Recommendations, UserRecommendations

__all__ = ["ItemTable", "Recommendations", "UserRecommendations"]
