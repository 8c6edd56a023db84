"""What is about training and not about one architecture: optimizers, exact resume, checks, run folders."""

from lightning_croloss.training.lazy_adam import LazyAdam
from lightning_croloss.training.schedulers import ChainedScheduler, SequentialLR
from lightning_croloss.training.steps import steps_in_all

__all__ = ["ChainedScheduler", "LazyAdam", "SequentialLR", "steps_in_all"]
