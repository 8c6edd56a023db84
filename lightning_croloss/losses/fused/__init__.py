"""The loss straight from embeddings, never the whole (B, M) matrix of scores."""
