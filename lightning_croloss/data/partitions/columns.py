"""The columns of the files beside the partitions."""

from __future__ import annotations

ITEM, EVENTS = "item", "events"
USER, PARTITION = "user", "partition"
