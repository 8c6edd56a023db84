"""``croloss_sharded``: tables of ids in shards, one a process, trained and kept under Lightning."""
