"""``croloss data``: what a table of events holds, and how it is divided by user."""
