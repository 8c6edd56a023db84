"""lightning-croloss: train the retrieval stage of a recommender on the Recall@N that will be deployed."""
