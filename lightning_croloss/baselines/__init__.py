"""What a model must beat: popularity, and the nearest neighbours of the items in the history."""
