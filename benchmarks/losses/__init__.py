"""Every loss tuned for every N, on several data sets: what the rule and the portfolio are made from."""
