"""Schedules of the values of a loss, for any training loop: nothing here needs Lightning."""

from lightning_croloss.schedules.curves import Constant, Cosine, Geometric, Linear, Ramp, Schedule, Steps
from lightning_croloss.schedules.loss_scheduler import LossScheduler

__all__ = ["Constant", "Cosine", "Geometric", "Linear", "LossScheduler", "Ramp", "Schedule", "Steps"]
