"""What is about training and not about one architecture: optimizers, exact resume, checks, run folders."""
