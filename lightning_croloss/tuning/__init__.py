"""Tuning: the settings of the loss and of the model that are best for the N that will be deployed."""

from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.objective_logger import ObjectiveLogger
from lightning_croloss.tuning.portfolio import portfolio
from lightning_croloss.tuning.result import TuneResult, Winner
from lightning_croloss.tuning.search import SearchFailedError
from lightning_croloss.tuning.tune import tune

__all__ = [
    "Candidate",
    "Objective",
    "ObjectiveLogger",
    "SearchFailedError",
    "TuneResult",
    "Winner",
    "portfolio",
    "tune",
]
