"""From vectors to lists, in torch: top items, histories of tokens, what a model must have to recommend.

What serving an exported model shares is in ``croloss_serving.recommend``, and the public part of it is
exported here. It needs no torch; the modules of this folder do and are not imported here.
"""

from croloss_serving import ItemTable, Recommendations, UserRecommendations

__all__ = ["ItemTable", "Recommendations", "UserRecommendations"]
