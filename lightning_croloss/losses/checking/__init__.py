"""What arguments and values show of mistakes: one sentence, early, and nothing waits for it."""
