"""A training run on a million items."""
