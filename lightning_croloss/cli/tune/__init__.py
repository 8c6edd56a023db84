"""``croloss tune``: the search for the N that will be deployed, from a config, or from a table alone."""
