"""``croloss tune --interactions``: the search from a table alone, by the clock."""
