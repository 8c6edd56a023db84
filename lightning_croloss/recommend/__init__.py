"""From vectors to lists: top items, tokens, fallback, allowed and denied items."""
