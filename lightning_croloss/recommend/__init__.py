"""From vectors to lists: top items, tokens, fallback, allowed and denied items.

The results need no torch, and neither does importing this package.
"""

from lightning_croloss.recommend.results import Recommendations, UserRecommendations

__all__ = ["Recommendations", "UserRecommendations"]
