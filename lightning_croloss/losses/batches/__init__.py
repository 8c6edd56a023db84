"""What a loss is told of a batch, checked and in one form: rows of one positive and many negatives."""
