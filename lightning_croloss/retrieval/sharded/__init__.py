"""Exact retrieval over a catalogue whose items lie in shards, one a process: ranks of targets, top items.

Every process calls these functions together with the others, each with its own users, perhaps none.
"""

from lightning_croloss.retrieval.sharded.item_shards import ItemShards
from lightning_croloss.retrieval.sharded.item_vectors import item_vectors
from lightning_croloss.retrieval.sharded.ranks import target_ranks
from lightning_croloss.retrieval.sharded.rounds import largest
from lightning_croloss.retrieval.sharded.top import top_items

__all__ = ["ItemShards", "item_vectors", "largest", "target_ranks", "top_items"]
