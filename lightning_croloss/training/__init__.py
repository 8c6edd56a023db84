"""What is about training and not about one architecture: optimizers, exact resume, checks, run folders."""

from lightning_croloss.training.lazy_adam import LazyAdam

__all__ = ["LazyAdam"]
