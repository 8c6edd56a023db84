"""The published matrix-factorisation protocol of SL@K and PSL: their table again, and CROLoss beside it."""
