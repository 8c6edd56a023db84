"""``croloss recommend``: whose histories are read, from where, and in which form the lists go out."""
