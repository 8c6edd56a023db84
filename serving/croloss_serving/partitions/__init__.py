"""Partitions: a folder of tables of histories in, a folder of Parquet files out, one for each table.

Torch-free. An output is written under another name and renamed when it is whole, and says in its metadata
with which settings it was written: so a job that was killed is started again as it was, and goes on.
"""

from __future__ import annotations

from croloss_serving.partitions.finding import PARQUET, find_partitions
from croloss_serving.partitions.partition import METADATA_KEY, Partition
from croloss_serving.partitions.recommending import recommend_partition

__all__ = ["METADATA_KEY", "PARQUET", "Partition", "find_partitions", "recommend_partition"]
