"""From items and scores to lists: tokens, titles, the popular fallback, allowed and denied items, users."""
