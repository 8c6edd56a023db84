"""Tables whose rows lie in shards, one a process, and what is computed over them: see ``RowShards``."""
