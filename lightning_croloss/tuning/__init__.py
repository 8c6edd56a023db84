"""Tuning: the settings of the loss and of the model that are best for the N that will be deployed."""

from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective

__all__ = ["Candidate", "Objective"]
